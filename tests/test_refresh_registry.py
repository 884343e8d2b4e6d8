"""The script that rewrites the registry's data from checkouts of the Registrar and the XEPs, laid out as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import xep419
from xep419.registrar import REGISTRIES, write
from xep419.registry import entries

SCRIPT = Path(__file__).parent.parent / "tools" / "refresh_registry.py"
TABLE = Path(xep419.__file__).parent / "registry.tsv"

pytestmark = [
    pytest.mark.any_isa,
    pytest.mark.skipif(not SCRIPT.exists(), reason="the script is not beside these tests"),
]

HEAD = """\
<?xml version='1.0' encoding='UTF-8'?>
<!DOCTYPE registry SYSTEM 'reg.dtd' [
  <!ENTITY % ents SYSTEM 'reg.ent'>
%ents;
]>
<registry>
  <meta>
    <title>A Registry</title>
    &LEGALNOTICE;
    <overview>As registered with the &REGISTRAR;.</overview>
    <revision><version>0.2</version><date>{date}</date><initials>xyz</initials><remark>Two.</remark></revision>
    <revision><version>0.1</version><date>2003-09-09</date><initials>xyz</initials><remark>One.</remark></revision>
  </meta>
"""
REGISTRAR = {
    "namespaces.xml": HEAD.format(date="2016-12-07")
    + """\
  <ns><name>urn:xmpp:omemo:0</name><doc>&xep0384;</doc><status>provisional</status></ns>
  <ns><name>jabber:iq:privacy</name><doc>&xmppim;</doc></ns>
  <ns><name>http://jabber.org/protocol/waitinglist</name><doc>&xep0130;</doc></ns>
  <ns><name>http://jabber.org/protocol/waitinglist</name><doc>&xep0130;</doc></ns>
</registry>
""",
    "nodes.xml": HEAD.format(date="2004-10-11")
    + "<node><name> x-roomuser-item\n</name><desc>A node.</desc><doc>&xep0045;</doc></node></registry>",
    "disco-features.xml": HEAD.format(date="2018-02-01")
    + """\
  <var><name>dnssrv</name><desc>Lookups.</desc><doc>&xmppcore;, &xmppim;</doc></var>
  <var><name>http://jabber.org/protocol/waitinglist</name><desc>See XEP-0045</desc><doc>&xep0045;</doc></var>
  <var><name>ipv6</name><desc>IPv6.</desc><doc>N/A</doc></var>
</registry>
""",
    "formtypes.xml": HEAD.format(date="2009-04-06")
    + "<form_type><name>urn:xmpp:captcha</name><doc>&xep0158;</doc><field var='FORM_TYPE'/></form_type></registry>",
}
XEPS = {
    "xep-0016.xml": "<xep><code><![CDATA[<xs:schema targetNamespace='jabber:iq:privacy'/>]]></code></xep>",
    "xep-0192.xml": '<code>&lt;xs:schema\n  targetNamespace = "urn:xmpp:features:dialback"&gt;</code>',
    "xep-0220.xml": "targetNamespace='urn:xmpp:features:dialback'\ntargetNamespace='urn:xmpp:a&amp;b'",
    "xep-template.xml": "targetNamespace='urn:xmpp:template'",
    "inbox.xml": "targetNamespace='urn:xmpp:inbox'",
}
#: with | for tabs
EXPECTED = """\
# XMPP Registrar, last revised 2018-02-01: names and specifications. Sorted by name.
# name|lists (namespace, node, xep = a XEP's target namespace, feature, form_type)|specifications, the Registrar's first|status
dnssrv|feature|xmppcore,xmppim|
http://jabber.org/protocol/waitinglist|namespace,feature|xep0130|registered
ipv6|feature||
jabber:iq:privacy|namespace,xep|xmppim,xep0016|registered
urn:xmpp:a&b|xep|xep0220|
urn:xmpp:captcha|form_type|xep0158|
urn:xmpp:features:dialback|xep|xep0192,xep0220|
urn:xmpp:omemo:0|namespace|xep0384|provisional
x-roomuser-item|node|xep0045|
""".replace("|", "\t")


def checkout(path: Path, files: dict[str, str]) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name).write_text(content, encoding="utf-8")
    return path


def refresh(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    package = str(Path(xep419.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, SCRIPT, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_both_checkouts(tmp_path: Path) -> None:
    registrar, xeps = checkout(tmp_path / "registrar", REGISTRAR), checkout(tmp_path / "xeps", XEPS)
    table = tmp_path / "table"
    done = refresh(registrar, "--xeps", xeps, "--table", table)
    assert (done.returncode, done.stderr) == (0, f"{table}: 9 names\n")
    assert table.read_bytes().decode() == EXPECTED


def test_without_the_xeps_their_names_stay(tmp_path: Path) -> None:
    registrar = checkout(tmp_path / "registrar", REGISTRAR)
    table = tmp_path / "table"
    table.write_text(
        "# old\n" + "".join(EXPECTED.splitlines(True)[2:]) + "urn:xmpp:z\tnamespace\txep0001\tregistered\n"
    )
    assert refresh(registrar, "--table", table).returncode == 0
    assert table.read_text() == EXPECTED


def test_the_table_of_the_package_comes_back_from_its_own_export(tmp_path: Path) -> None:
    files = {
        "namespace": "namespaces.xml",
        "node": "nodes.xml",
        "feature": "disco-features.xml",
        "form_type": "formtypes.xml",
    }
    assert files.keys() == REGISTRIES.keys()
    registrar = checkout(tmp_path / "registrar", {files[name]: write(entries(), name).decode() for name in files})
    table = tmp_path / "table"
    table.write_bytes(TABLE.read_bytes())
    assert refresh(registrar, "--table", table).returncode == 0
    new, old = (path.read_text("utf-8").splitlines()[1:] for path in (table, TABLE))
    assert new == old


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {},
            "{} is no checkout of the registrar: it has no namespaces.xml, nodes.xml, disco-features.xml, formtypes.xml",
        ),
        (
            {**REGISTRAR, "nodes.xml": "<registry><node></registry>"},
            "{}/nodes.xml: well-formed XML is expected: mismatched tag (at byte 18)",
        ),
    ],
)
def test_what_is_no_checkout_leaves_the_table(tmp_path: Path, files: dict[str, str], message: str) -> None:
    registrar = checkout(tmp_path / "registrar", files)
    table = tmp_path / "table"
    table.write_text(EXPECTED)
    done = refresh(registrar, "--table", table)
    assert (done.returncode, done.stderr) == (1, message.format(registrar) + "\n")
    assert table.read_text() == EXPECTED


def test_an_empty_checkout_of_the_xeps(tmp_path: Path) -> None:
    registrar, xeps = checkout(tmp_path / "registrar", REGISTRAR), checkout(tmp_path / "xeps", {})
    done = refresh(registrar, "--xeps", xeps, "--table", tmp_path / "table")
    assert done.returncode == 1
    assert done.stderr == f"{xeps} is no checkout of the XEPs: it has no xep-NNNN.xml with a schema\n"
    assert not (tmp_path / "table").exists()
