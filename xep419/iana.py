"""The request to IANA that XEP-0419's IANA Considerations ask for: a formal URN namespace, ``xmpps``.

The template is RFC 8141's (appendix A, with section 6.4's questions answered in its order); what the namespace holds is
counted in the registry. Nothing here sends anything.
"""

from __future__ import annotations

import datetime
import textwrap

from .registry import RegistryEntry, entries

#: columns of a line, as RFCs have them
_WIDTH = 72

_REGISTRANT = """\
XMPP Standards Foundation (XSF), https://xmpp.org/

Designated contact: XMPP Registrar, registrar@xmpp.org"""

_PURPOSE = """\
The URNs of this namespace name the XML formats and protocols that the XSF specifies as extensions of XMPP (RFC 6120).
They stand on the wire as XML namespace names, service discovery features, form types and node identifiers. The
community served is everyone who implements or operates XMPP.

Names for the same formats exist under the URN namespace "xmpp" (RFC 4854). XEP-0419 replaces them because "xmpp",
like "http", does not say that what it names is secure. A new namespace identifier is needed because the letter that
says so belongs to the identifier: no component that RFC 8141 leaves to the "xmpp" namespace could carry it."""

_SYNTAX = """\
The namespace-specific string is that of the URN namespace "xmpp":

  xmpps-urn = "urn:xmpps:" ShortName *( ":" SubName )

where ShortName and SubName are non-empty, in the characters that RFC 8141 permits in an NSS. No character has a
meaning of its own but ":", which separates levels that only the specification of the name interprets.

Names are compared as XML namespace names are, letter by letter. Names that are URN-equivalent and differ in letters
(RFC 8141, section 3.1) are not both assigned. r-components and q-components are not used. An XMPP entity appends "#"
and a suffix of its own to some names; this is not an f-component and is never resolved."""

_ASSIGNMENT = """\
Every assigned name of the URN namespace "xmpp" is hereby assigned in this one, with the same NSS and the same
meaning. The registries of the XMPP Registrar and the schemas of the XSF's specifications held {count} such names when
this request was made, for example {example}.

Further names are assigned by the XMPP Registrar to specifications in the XSF's standards process (XEP-0001,
XEP-0053), which ensures that they are unique and not reassigned. Assignment is open to anyone whose specification the
XSF accepts. It is free of charge."""

_SECURITY = """\
A name in this namespace states that what it names is secure. It does not make it so. The cipher that accompanies the
names, Double ROT-13 (XEP-0419, Stanza Encryption), maps every octet to itself and provides no confidentiality,
integrity or authentication; TLS remains required (RFC 6120, section 13.8).

An attacker who removes the letter "s" from a feature advertisement can downgrade a peer that accepts both forms. An
entity that has seen the secure form must therefore not accept the insecure one from the same peer.

The URNs identify formats, not persons or messages. Which of them an entity supports is disclosed by service
discovery, under either identifier."""

_INTEROPERABILITY = """\
The identifier differs from "xmpp" in one letter and is easily taken for a misspelling of it, or it for one. The two
are not URN-equivalent. An entity that knows names under "xmpp" only does not recognize those under "xmpps": it
ignores them or answers with an error (RFC 6120, section 8.4). Hashes over service discovery features (XEP-0115,
XEP-0390) change with the names. The namespace is not related to any use of "xmpps" as the name of a service
(XEP-0368)."""

_RESOLUTION = """\
None is intended. Some names can be entered at https://xmpp.org/registrar/ by hand."""

_DOCUMENTATION = """\
XEP-0419: Improving Baseline Security in XMPP, https://xmpp.org/extensions/xep-0419.html

RFC 4854 for the namespace whose structure this one shares."""

_ADDITIONAL = """\
The namespace identifier is formal. It has five characters, begins neither with "urn-" nor with two letters and a
hyphen (RFC 8141, section 5.1), and is not registered. The XMPP Registrar's registries are changed to match on
approval."""

_REVISION = "None: this is the first version."


def registration_template(date: datetime.date | None = None) -> str:
    """The registration of the URN namespace ``xmpps``, in RFC 8141's form; ASCII, lines of at most 72 characters.

    :param date: when the registration is requested; today by default.
    """
    names = [entry for entry in entries() if entry.name.startswith("urn:xmpp:")]
    fields = {
        "Namespace Identifier": "xmpps",
        "Version": "1",
        "Date": (date or datetime.date.today()).isoformat(),
        "Registrant": _REGISTRANT,
        "Purpose": _PURPOSE,
        "Syntax": _SYNTAX,
        "Assignment": _assignment(names),
        "Security and Privacy": _SECURITY,
        "Interoperability": _INTEROPERABILITY,
        "Resolution": _RESOLUTION,
        "Documentation": _DOCUMENTATION,
        "Additional Information": _ADDITIONAL,
        "Revision Information": _REVISION,
    }
    return "\n".join(_field(name, value) for name, value in fields.items())


def _assignment(names: list[RegistryEntry]) -> str:
    example = next(entry.secure_name for entry in names if entry.status == "registered")
    return _ASSIGNMENT.format(count=len(names), example=f'"{example}"')


def _field(name: str, value: str) -> str:
    """``Name:  value`` where that is one word, else the paragraphs below it; a grammar keeps its lines."""
    if " " not in value:
        return f"{name}:  {value}\n"
    paragraphs = [
        textwrap.fill(text, _WIDTH, initial_indent="   ", subsequent_indent="   ", break_on_hyphens=False)
        if not text.startswith(" ")
        else f"   {text}"
        for text in value.split("\n\n")
    ]
    return f"{name}:\n" + "\n\n".join(paragraphs) + "\n"
