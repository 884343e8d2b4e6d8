"""``upgrade``, ``downgrade`` and ``scan`` by hand-written cases: each line of the scope table and each clause.

A case is a document with a ``^`` wherever the letter goes: without them it is the input, with an ``s`` for each the
output, and a document without any ``^`` must come back as it is. The oracles judge the well-formed ones once more.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Iterable

import pytest
from oracles import (
    NotNamespaceWellFormedError,
    assert_found,
    assert_mapped,
    downgraded,
    insertions,
    parse_expat,
    upgraded,
)

import xep419
from xep419 import EncodingError, NamespaceRef, Scope, downgrade, downgrade_name, is_secure, scan, upgrade, upgrade_name

CAPS = "http://jabber.org/protocol/caps"
COMMANDS = "http://jabber.org/protocol/commands"  # registered as a node


def cases(*marked: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("marked", marked)


def before(marked: str) -> bytes:
    return marked.replace("^", "").encode()


def after(marked: str) -> bytes:
    return marked.replace("^", "s").encode()


def assert_upgraded(marked: str) -> None:
    """The input becomes the output in every form, and once more changes nothing."""
    xml, expected = before(marked), after(marked)
    result = upgrade(xml)
    assert result == expected
    assert type(result) is bytes
    assert upgrade(xml.decode()) == expected.decode()
    assert upgrade(bytearray(xml)) == expected
    assert upgrade(expected) is expected
    if "^" not in marked:
        assert result is xml
    elif not any(ref.secure for ref in scan(xml)):
        assert downgrade(expected, known_only=False) == xml
    assert len(insertions(xml, expected)) == marked.count("^")
    assert sum(not ref.secure for ref in scan(xml)) == marked.count("^")


def assert_upgraded_by_oracles(marked: str) -> None:
    """As above, for a document that a parser takes."""
    assert_upgraded(marked)
    xml, expected = before(marked), after(marked)
    assert_mapped(xml, expected, upgraded)
    assert_found(xml, scan(xml))
    assert_mapped(expected, downgrade(expected, known_only=False), downgraded)


# -- DECLARATIONS -------------------------------------------------------------------------------------------


@cases(
    "<a xmlns='http^://jabber.org/protocol/muc'/>",
    '<a xmlns="http^://jabber.org/protocol/muc"/>',
    "<a xmlns='urn:xmpp^:mam:2'/>",
    "<a xmlns='urn:xmpp^:mam:2'></a>",
    "<a xmlns:p='urn:xmpp^:mam:2'/>",
    "<a xmlns:p='urn:xmpp^:mam:2' xmlns='http^://a' xmlns:q=\"http^://q\"/>",
    "<p:a xmlns:p='http^://a' p:b='http://a'/>",
    "<a><b xmlns='http^://b'><c xmlns='http^://c'/></b><d xmlns='urn:xmpp^:d'/></a>",
    "<a b='1' xmlns='http^://a' c='2'/>",
    "<a xmlns='http^:'/>",
    "<a xmlns='urn:xmpp^:'/>",
    "<a xmlns='http^://a/http://a'/>",
    "<a xmlns:p-1.x_\u00e9='http^://a'/>",
    "<a xmlns:feature='http^://a'/>",
    "<a xmlns:xmln='http^://a'/>",
    "<a xmlns:xmlx='http^://a'/>",
    "<a xmlns:x='http^://a'/>",
    "<xmlns xmlns='http^://a'/>",
    "<\u00fc xmlns='http^://a'/>",
    "<a xmlns='http^://\u00fc\U0001f600'/>",
    "<a\n\txmlns='http^://a'\r\n/>",
)
def test_a_declaration_is_upgraded_by_scheme(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@pytest.mark.parametrize("quote", "'\"")
@pytest.mark.parametrize("lead", [" ", "\t", "\n", "\r", "\n  \t"])
def test_white_space_may_stand_around_the_equals_sign(quote: str, lead: str) -> None:
    spaces = ("", " ", "\t", "\n", "\r", " \r\n\t ")
    for left, right in itertools.product(spaces, spaces):
        for name in ("xmlns", "xmlns:p"):
            value = f"{quote}http^://a{quote}"
            assert_upgraded(f"<a{lead}{name}{left}={right}{value}/>")
            assert_upgraded(f"<a b=''{lead}{name}{left}={right}{value}{lead}c=''>x</a>")
        assert_upgraded(f"<feature{lead}var{left}={right}{quote}urn:xmpp^:x{quote}{lead}/>")


@cases(
    "<a xmlns='HTTP^://a'/>",
    "<a xmlns='Http^://a'/>",
    "<a xmlns='hTTp^://a'/>",
    "<a xmlns='URN:XMPP^:a'/>",
    "<a xmlns='Urn:xmpP^:a'/>",
    "<a xmlns='HTTPS://a'/>",
    "<a xmlns='httpS://a'/>",
    "<a xmlns='URN:XMPPS:a'/>",
)
def test_schemes_are_compared_without_case_and_keep_their_letters(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@cases(
    "<a xmlns='https://a'/>",
    "<a xmlns='urn:xmpps:a'/>",
    "<a xmlns='jabber:client'/>",
    "<a xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<a xmlns='vcard-temp'/>",
    "<a xmlns='ftp://a'/>",
    "<a xmlns='xhttp://a'/>",
    "<a xmlns='httpx://a'/>",
    "<a xmlns='httpss://a'/>",
    "<a xmlns='http'/>",
    "<a xmlns='https'/>",
    "<a xmlns='htt'/>",
    "<a xmlns='h'/>",
    "<a xmlns=''/>",
    "<a xmlns='urn:xmpp'/>",
    "<a xmlns='urn:xmpps'/>",
    "<a xmlns='urn:xmppss:a'/>",
    "<a xmlns='urn:xmp:a'/>",
    "<a xmlns='urn:xmpp2:a'/>",
    "<a xmlns='urn:xmp'/>",
    "<a xmlns='urn:'/>",
    "<a xmlns='urn'/>",
    "<a xmlns='urnxmpp:a'/>",
    "<a xmlns='http//a:'/>",
    "<a xmlns='h\u0442tp://a'/>",  # a Cyrillic letter
    "<a xmlns='\uff48ttp://a'/>",
    "<a xmlns='urn:xmpp\uff1aa'/>",
    "<a xmlns='urn:xmpp\u017f:a'/>",  # its upper case is S
    "<a xmlns='{http://a}'/>",
    "<a xmlns='FORM_TYPE'/>",
)
def test_other_names_are_left_alone(marked: str) -> None:
    assert_upgraded(marked)


@cases(
    "<a xmlns=' http://a'/>",
    "<a xmlns='\nurn:xmpp:a'/>",
    "<a xmlns='&#32;http://a'/>",
    "<feature var='\thttp://a'/>",
    "<field var=' {http://a}b'/>",
    "<field var='{ http://a}b'/>",
    f"<x node=' {COMMANDS}'/>",
)
def test_white_space_before_a_name_in_an_attribute_makes_it_another(marked: str) -> None:
    assert_upgraded(marked)


@cases(
    "<a xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
    "<a xmlns:xml = \"http://www.w3.org/XML/1998/namespace\" xml:lang='en'/>",
    "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xmlns='http^://a'/>",
    "<a xmlns='http^://a' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>",
)
def test_the_name_of_the_prefix_xml_is_fixed(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


# -- character references -----------------------------------------------------------------------------------

REFERENCE_FORMS: dict[str, Callable[[str], str]] = {
    "decimal": lambda letter: f"&#{ord(letter)};",
    "decimal, leading zeros": lambda letter: f"&#000{ord(letter)};",
    "decimal, many leading zeros": lambda letter: f"&#{ord(letter):0200};",
    "hexadecimal": lambda letter: f"&#x{ord(letter):x};",
    "hexadecimal, upper case": lambda letter: f"&#x{ord(letter):X};",
    "hexadecimal, leading zeros": lambda letter: f"&#x0000000000{ord(letter):x};",
}
#: positions, with a place for the name
POSITIONS = {
    "declaration": "<a xmlns:p='%s'/>",
    "feature": '<feature var="%s"/>',
    "node": "<x node='%s'/>",
    "field": "<field var='{%s}b'/>",
    "form": "<field var='FORM_TYPE'><value>%s</value></field>",
    "reference": "<fallback for='%s'/>",
}


@pytest.mark.parametrize("form", REFERENCE_FORMS)
@pytest.mark.parametrize("position", POSITIONS)
def test_references_denote_the_same_name(position: str, form: str) -> None:
    spelled = REFERENCE_FORMS[form]
    names = [("urn:xmpp", ":mam:2"), ("URN:xmPP", ":mam:2"), ("http", "://jabber.org/protocol/muc")]
    if position != "node":  # registered names are compared by letter
        names.append(("hTTp", "://jabber.org/protocol/muc"))
    for head, rest in names:
        for i in range(len(head)):
            marked = head[:i] + spelled(head[i]) + head[i + 1 :] + "^" + rest
            assert_upgraded_by_oracles(POSITIONS[position] % marked)
        for marked in (
            head + "^" + spelled(":") + rest[1:],
            "".join(map(spelled, head)) + "^" + rest,
            "".join(map(spelled, head)) + "^" + "".join(map(spelled, rest)),
            head + spelled("s") + rest,
            head + spelled("S") + spelled(":") + rest[1:],
            head + "s" + spelled(":") + rest[1:],
        ):
            assert_upgraded_by_oracles(POSITIONS[position] % marked)


@cases(
    "<field var='F&#79;RM_TYPE'><value>http^://a</value></field>",
    "<field var='&#x46;ORM_TYP&#69;'><value>http^://a</value></field>",
    "<field var='FORM&#95;TYPE'><value>http^://a</value></field>",
    "<field var='&#123;http^://a&#x7D;b'/>",
    "<field var='{h&#116;tp^://a&#125;b'/>",
    f"<x node='{COMMANDS[:-1].replace('http', 'http^')}&#115;'/>",
    f"<x node='{COMMANDS.replace('http', 'http^')}&#35;x'/>",
    "<feature var='http^://a&amp;b&lt;&#x1F600;'/>",
    "<c xmlns='http^://jabber.org/protocol/cap&#115;' node='http://jabber.org/protocol/commands'/>",
    "<c xmlns='&#104;ttp^://jabber.org/protocol/caps' node='http://jabber.org/protocol/commands'/>",
    "<a xmlns='http^://jabber.org/protocol/cap&#0115;'><c node='http://jabber.org/protocol/commands'/></a>",
)
def test_references_count_wherever_a_value_is_compared(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@cases(
    "<a xmlns='&#X68;ttp://a'/>",  # the x is small in XML
    "<a xmlns='&#104ttp://a'/>",
    "<a xmlns='&#;ttp://a'/>",
    "<a xmlns='&#x;ttp://a'/>",
    "<a xmlns='&#x68'/>",
    "<a xmlns='&#68x;ttp://a'/>",
    "<a xmlns='&# 104;ttp://a'/>",
    "<a xmlns='&#-104;ttp://a'/>",
    "<a xmlns='&104;ttp://a'/>",
    "<a xmlns='&h;ttp://a'/>",
    "<a xmlns='&#4294967400;ttp://a'/>",  # 2 ** 32 + 104
    "<a xmlns='&#x100000068;ttp://a'/>",
    "<a xmlns='&#18446744073709551720;ttp://a'/>",  # 2 ** 64 + 104
    "<a xmlns='&#360;ttp://a'/>",  # 256 + 104
    "<a xmlns='&#0;ttp://a'/>",
    "<a xmlns='&amp;#104;ttp://a'/>",
    "<a xmlns='&#38;#104;ttp://a'/>",
    "<a xmlns='http&amp;#58;//a'/>",
    "<a xmlns='http&#33;//a'/>",
    "<a xmlns='&#'/>",
    "<a xmlns='&'/>",
    "<a xmlns='h&#'/>",
)
def test_what_is_no_reference_to_a_letter_is_none(marked: str) -> None:
    assert_upgraded(marked)


# -- FEATURES -----------------------------------------------------------------------------------------------


@cases(
    "<feature var='http^://jabber.org/protocol/muc'/>",
    "<feature var='urn:xmpp^:ping'/>",
    "<feature var='urn:xmpp^:avatar:metadata+notify'/>",
    "<d:feature xmlns:d='http^://d' var='urn:xmpp^:ping'/>",
    "<feature xmlns='http^://anything' a='1' var='HTTP^://a' b='2'></feature>",
    '<feature\n\tvar\n=\n"http^://a"\n/>',
    "<feature var='https://a'/>",
    "<feature var='jabber:iq:version'/>",
    "<feature var='msgoffline'/>",
    "<feature var=''/>",
    "<feature vars='http://a' xvar='http://a' Var='http://a' va='http://a'/>",
    "<feature xmlns:p='jabber:x' p:var='http://a'/>",
    "<Feature var='http://a'/>",
    "<features var='http://a'/>",
    "<xfeature var='http://a'/>",
    "<feature-x var='http://a'/>",
    "<option var='http://a'/>",
    "<a><var feature='http://a'/></a>",
)
def test_var_of_feature_is_upgraded_by_scheme(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


# -- FORM_TYPES ---------------------------------------------------------------------------------------------


@cases(
    "<field var='FORM_TYPE'><value>http^://a</value></field>",
    '<field type="hidden" var="FORM_TYPE"><value>urn:xmpp^:a</value></field>',
    "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp^:a</value></field>",
    "<d:field xmlns:d='jabber:x:data' var='FORM_TYPE'><d:value>http^://a</d:value></d:field>",
    "<field var='FORM_TYPE'>\n  <value\n>http^://a</value\n>\n</field>",
    "<field var='FORM_TYPE'><value a='>' b=\">\">http^://a</value></field>",
    "<field var='FORM_TYPE'><value> \t\r\n http^://a \n</value></field>",
    "<field var='FORM_TYPE'><value>&#32;&#9;&#xA;&#13; http^://a</value></field>",
    "<field var='FORM_TYPE'><value><!-- http://c -->http^://a</value></field>",
    "<field var='FORM_TYPE'><value> <?pi http://c ?> <!----> http^://a</value></field>",
    "<field var='FORM_TYPE'><value>http^://a<!-- urn:xmpp:a --></value></field>",
    "<field var='FORM_TYPE'><value>http^://a<b>http://a</b>http://a</value></field>",
    "<field var='FORM_TYPE'><value>http^://a</value><value>https://b</value><value>urn:xmpp^:c</value></field>",
    "<field var='FORM_TYPE'><value/><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><value></value><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><required/><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><desc>http://a</desc><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><!-- > <value>http://a</value> --><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><![CDATA[<value>http://a</value></field>]]><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><?x </field>?><value>http^://a</value></field>",
    "<field var='FORM_TYPE'>http://a<value>http^://a</value>http://a</field>",
    "<field var='FORM_TYPE'><value>Http^:</value></field>",
    "<field var='FORM_TYPE'><value>http^: </value></field>",
    "<field var='FORM_TYPE'><value>https://a</value></field>",
    "<field var='FORM_TYPE'><value>jabber:x:data</value></field>",
    "<field var='FORM_TYPE'><value>xhttp://a</value></field>",
    "<field var='FORM_TYPE'><value>see http://a</value></field>",
    "<field var='FORM_TYPE'><value>\u00a0http://a</value></field>",  # no white space of XML's
    "<field var='FORM_TYPE'><value>\u3000http://a</value></field>",
)
def test_the_text_of_a_value_of_a_form_type_field_is_upgraded_by_scheme(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@cases(
    "<field var='other'><value>http://a</value></field>",
    "<field var='form_type'><value>http://a</value></field>",
    "<field var='FORM_TYPE '><value>http://a</value></field>",
    "<field var=' FORM_TYPE'><value>http://a</value></field>",
    "<field var='FORM_TYPES'><value>http://a</value></field>",
    "<field var='FORM_TYP'><value>http://a</value></field>",
    "<field><value>http://a</value></field>",
    "<field type='FORM_TYPE'><value>http://a</value></field>",
    "<field xmlns:p='jabber:x' p:var='FORM_TYPE'><value>http://a</value></field>",
    "<fields var='FORM_TYPE'><value>http://a</value></fields>",
    "<x var='FORM_TYPE'><value>http://a</value></x>",
    "<a><field var='FORM_TYPE'/><value>http://a</value></a>",
    "<a><field var='FORM_TYPE'></field><value>http://a</value></a>",
    "<a><value>http://a</value><field var='FORM_TYPE'/></a>",
    "<field var='FORM_TYPE'><option><value>http://a</value></option></field>",
    "<field var='FORM_TYPE'><option label='x'><value>http://a</value></option><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><a><b><value>http://a</value></b><value>http://a</value></a><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><value><value>http://a</value></value></field>",
    "<field var='FORM_TYPE'><value><x/>http://a</value></field>",
    "<field var='FORM_TYPE'><values>http://a</values><xvalue>http://a</xvalue><Value>http://a</Value></field>",
    "<field var='FORM_TYPE'><value a='http://a'/></field>",
    "<field var='FORM_TYPE'><value><![CDATA[http://a]]></value></field>",
    "<field var='FORM_TYPE'><value> <![CDATA[ ]]>http://a</value></field>",
    "<field var='FORM_TYPE'><value><!--x--><![CDATA[urn:xmpp:a]]></value></field>",
    "<field var='FORM_TYPE'><value><!-- > -->x http://a</value></field>",
)
def test_no_other_text_is_one(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@cases(
    "<field var='FORM_TYPE'><field><value>http://a</value></field><value>http^://a</value></field>",
    "<field var='FORM_TYPE'><field var='b'><value>http://a</value></field><value>http^://a</value></field>",
    "<field><field var='FORM_TYPE'><value>http^://a</value></field><value>http://a</value></field>",
    "<field var='FORM_TYPE'><field var='FORM_TYPE'><value>http^://a</value></field><value>http^://b</value></field>",
    "<field var='FORM_TYPE'><value><field var='FORM_TYPE'><value>http^://a</value></field>http://b</value></field>",
    "<field var='FORM_TYPE'><x><field var='FORM_TYPE'/><value>http://a</value></x><value>http^://a</value></field>",
    "<a><field var='FORM_TYPE'><value>http^://a</value></field><field var='b'><value>http://a</value></field></a>",
)
def test_form_type_fields_may_nest(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


# -- FIELDS -------------------------------------------------------------------------------------------------


@cases(
    "<field var='{http^://prosody.im/protocol/muc}roomconfig_allowmemberinvites'/>",
    '<d:field xmlns:d="jabber:x:data" var="{urn:xmpp^:a}b"/>',
    "<field var='{http^://a}'/>",
    "<field var='{http^:}'/>",
    "<field var='{HTTP^://a}b}c'/>",
    "<field var='{http^://a{b}c'/>",
    "<field var='{http^://a}b'><value>http://a</value></field>",
    "<field label='{http://a}b' var='{http^://a}b' type='{http://a}b'/>",
    "<field var='{https://a}b'/>",
    "<field var='{}http://a'/>",
    "<field var='{http}://a'/>",
    "<field var='{'/>",
    "<field var='{}'/>",
    "<field var='{http://a'/>",
    "<field var='{{http://a}b'/>",
    "<field var='b{http://a}'/>",
    "<field var='http://a'/>",
    "<field var='urn:xmpp:a'/>",
    "<field var='{jabber:x:data}http://a'/>",
    "<field xmlns:p='jabber:x' p:var='{http://a}b'/>",
    "<feature var='{http://a}b'/>",
    "<option var='{http://a}b'/>",
    "<a xmlns='jabber:x' node='{http://a}b'/>",
)
def test_var_of_field_is_upgraded_in_clark_notation(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


# -- NODES --------------------------------------------------------------------------------------------------


@cases(
    "<query node='http^://jabber.org/protocol/commands'/>",
    "<x:any xmlns:x='jabber:x' node='http^://jabber.org/protocol/commands'/>",
    "<item jid='a' node='http^://jabber.org/protocol/muc#rooms'/>",
    "<item node='http^://jabber.org/protocol/muc#traffic'/>",
    "<items node='http^://jabber.org/protocol/tune'/>",
    "<publish node='urn:xmpp^:avatar:data'/>",
    "<publish node='urn:xmpp^:no-such-name'/>",
    "<publish node='urn:xmpp^:no-such-name#some#suffix'/>",
    "<publish node='URN:XMPP^:a'/>",
    "<publish node='urn:xmpp^:'/>",
    "<query node='http^://jabber.org/protocol/commands#x'/>",
    "<query node='http^://jabber.org/protocol/commands#'/>",
    "<query node='http^://jabber.org/protocol/commands##a/b?c=d&amp;e'/>",
    "<query node='http^://jabber.org/protocol/muc#rooms#any suffix'/>",
    "<query node='http^://jabber.org/protocol/commands#\u00fc'/>",
    "<feature node='http^://jabber.org/protocol/commands' var='http^://a'/>",
    "<publish node='https://jabber.org/protocol/commands'/>",
    "<publish node='urn:xmpps:a'/>",
)
def test_a_node_is_upgraded_if_it_is_under_urn_xmpp_or_registered(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@cases(
    "<query node='http://example.org/client#hash'/>",
    "<query node='http://slixmpp.com/ver/1.17.0#q07IKJEyjvHSyhy//CH0CxmKi8w='/>",
    "<query node='http://example.org'/>",
    "<query node='http://jabber.org/protocol/commandsx'/>",
    "<query node='http://jabber.org/protocol/command'/>",
    "<query node='http://jabber.org/protocol/commands/x'/>",
    "<query node='http://jabber.org/protocol/commands+notify'/>",
    "<query node='http://jabber.org/protocol/commands '/>",
    "<query node='http://jabber.org/protocol/COMMANDS'/>",
    "<query node='http://x#http://jabber.org/protocol/commands'/>",
    "<query node='#http://jabber.org/protocol/commands'/>",
    "<query node='http://#'/>",
    "<query node='http:'/>",
    "<query node=''/>",
    "<query node='commands'/>",
    "<query node='jabber:iq:register'/>",
    "<query node='http://jabber.org/protocol/commandsx#x'/>",
    "<query node='http://jabber.org/network/serverinfo'/>",  # a form type, not a name for nodes
    "<query xmlns:p='jabber:x' p:node='http://jabber.org/protocol/commands'/>",
    "<query nodes='http://jabber.org/protocol/commands' xnode='urn:xmpp:a'/>",
    "<node xmlns='jabber:x'>http://jabber.org/protocol/commands</node>",
)
def test_nodes_of_software_and_other_attributes_stay(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@cases(
    f"<c xmlns='http^://jabber.org/protocol/caps' node='{COMMANDS}'/>",
    f"<c node='{COMMANDS}' xmlns='http^://jabber.org/protocol/caps'/>",
    f'<c a="1" node="{COMMANDS}" b="2" xmlns="https://jabber.org/protocol/caps"/>',
    f"<p:c xmlns:p='http^://jabber.org/protocol/caps' node='{COMMANDS}'/>",
    "<p:c node='urn:xmpp:a' xmlns:p='http^://jabber.org/protocol/caps'></p:c>",
    f"<a xmlns='http^://jabber.org/protocol/caps'><c node='{COMMANDS}'/></a>",
    f"<a xmlns='http^://jabber.org/protocol/caps'><b><b><c node='{COMMANDS}'/></b><c node='urn:xmpp:a'/></b></a>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps'><b/><!-- </a> --><p:c node='{COMMANDS}'/></a>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps'><b xmlns:q='http^://q'><p:c node='{COMMANDS}'/></b></a>",
    f"<a xmlns='jabber:x' xmlns:p='http^://jabber.org/protocol/caps'>"
    f"<p:c node='{COMMANDS}'><p:c node='urn:xmpp:a'/></p:c></a>",
    f"<p:a xmlns:p='http^://jabber.org/protocol/caps'><b xmlns:p='jabber:x'/><p:c node='{COMMANDS}'/></p:a>",
    f"<a xmlns='jabber:x'><b xmlns='http^://jabber.org/protocol/caps'><c node='{COMMANDS}'/></b></a>",
)
def test_the_node_of_entity_capabilities_stays(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


UP = COMMANDS.replace("http", "http^")


@cases(
    f"<c node='{UP}'/>",
    f"<c xmlns='jabber:x' node='{UP}'/>",
    f"<c xmlns='http^://jabber.org/protocol/caps#x' node='{UP}'/>",
    f"<c xmlns='http^://jabber.org/protocol/cap' node='{UP}'/>",
    f"<c xmlns='HTTP^://jabber.org/protocol/caps' node='{UP}'/>",  # another namespace: names are compared by letter
    f"<x xmlns='http^://jabber.org/protocol/caps' node='{UP}'/>",
    f"<cc xmlns='http^://jabber.org/protocol/caps' node='{UP}'/>",
    f"<C xmlns='http^://jabber.org/protocol/caps' node='{UP}'/>",
    f"<p:c xmlns='http^://jabber.org/protocol/caps' xmlns:p='jabber:x' node='{UP}'/>",
    f"<c xmlns='jabber:x' xmlns:p='http^://jabber.org/protocol/caps' node='{UP}'/>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps'><c node='{UP}'/></a>",
    f"<a xmlns='http^://jabber.org/protocol/caps'><c xmlns='' node='{UP}'/></a>",
    f"<a xmlns='http^://jabber.org/protocol/caps'><b xmlns=''><c node='{UP}'/></b><c node='{COMMANDS}'/></a>",
    f"<a xmlns='http^://jabber.org/protocol/caps'><b xmlns='jabber:x'><c node='{UP}'/></b></a>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps'><p:c xmlns:p='jabber:x' node='{UP}'/></a>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps'><p:c node='{UP}' xmlns:p='jabber:x'/></a>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps'>"
    f"<b xmlns:p='jabber:x'><p:c node='{UP}'/></b><p:c node='{COMMANDS}'/></a>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps'><b xmlns:p='jabber:x'><b xmlns:p='http^://jabber.org/protocol/caps'>"
    f"<p:c node='{COMMANDS}'/></b><p:c node='{UP}'/></b><p:c node='{COMMANDS}'/></a>",
    f"<a><b xmlns='http^://jabber.org/protocol/caps'/><c node='{UP}'/></a>",
    f"<a><b xmlns='http^://jabber.org/protocol/caps'></b><c node='{UP}'/></a>",
    f"<a><b xmlns='http^://jabber.org/protocol/caps'><b/></b><c node='{UP}'/></a>",
    f"<a><b a='http://jabber.org/protocol/caps'><c node='{UP}'/></b></a>",
    f"<a xmlns:pp='http^://jabber.org/protocol/caps' xmlns:p='jabber:x'><p:c node='{UP}'/></a>",
    f"<a xmlns:p='http^://jabber.org/protocol/caps' xmlns:pp='jabber:x'><pp:c node='{UP}'/></a>",
    f"<c xmlns='urn:xmpp^:caps' node='{UP}'/>",
    f"<c node='{UP}' xmlns='urn:xmpp^:a' a='' xmlns:p='http^://jabber.org/protocol/caps'/>",
)
def test_the_node_of_any_other_element_does_not(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


def test_caps_and_form_fields_may_stand_in_one_another() -> None:
    assert_upgraded_by_oracles(
        f"<a xmlns:p='http^://jabber.org/protocol/caps'><field var='FORM_TYPE' xmlns:p='jabber:x'>"
        f"<p:c node='{UP}'/><value>http^://a</value></field><p:c node='{COMMANDS}'/><value>http://a</value></a>"
    )
    assert_upgraded_by_oracles(
        f"<field var='FORM_TYPE' xmlns='http^://jabber.org/protocol/caps'><c node='{COMMANDS}'>"
        f"<value>http://a</value></c><value xmlns=''>http^://a<c node='{UP}'/></value></field>"
    )


@pytest.mark.parametrize("depth", [1, 2, 30, 60])
def test_nesting_is_followed(depth: int) -> None:
    field, value = "<field var='FORM_TYPE'>", "<value>http^://a</value>"
    assert_upgraded_by_oracles(field * depth + f"{value}</field>" * depth)
    caps = "<a xmlns='http^://jabber.org/protocol/caps'><b xmlns=''>"
    closed = f"<c node='{UP}'/></b><c node='{COMMANDS}'/></a>"
    assert_upgraded_by_oracles(caps * (depth // 2) + f"<c node='{UP}'/>" + closed * (depth // 2))


@pytest.mark.parametrize("depth", [64, 65, 100, 1000])
def test_nesting_without_end_loses_nothing(depth: int) -> None:
    """Deeper nesting than any real document's is not followed, but what follows it is."""
    for piece in (
        "<field var='FORM_TYPE'>",
        f"<a xmlns:p='{CAPS}'>",
        "<a xmlns:p%d='http://jabber.org/protocol/caps'>",
    ):
        xml = "".join(piece % i if "%" in piece else piece for i in range(depth)).encode()
        for tail in (
            b"<value>http://a</value>",
            b"<p:c node='urn:xmpp:a'/>",
            b"</field></a>" * depth + b"<a xmlns='http:'/>",
        ):
            result = upgrade(xml + tail)
            assert len(insertions(xml + tail, result)) == sum(not ref.secure for ref in scan(xml + tail))
            assert upgrade(result) is result
            assert result.startswith(upgrade(xml))
    closed = "<field var='FORM_TYPE'>" * depth + "</field>" * depth + "<value>http://a</value>"
    assert_upgraded(closed + "<field var='FORM_TYPE'><value>http^://a</value></field>")


# -- REFERENCES ---------------------------------------------------------------------------------------------


@cases(
    "<encryption xmlns='urn:xmpp^:eme:0' namespace='urn:xmpp^:otr:0'/>",
    "<encryption namespace='http^://a' name='http://a'/>",
    "<fallback xmlns='urn:xmpp^:fallback:0' for='urn:xmpp^:reply:0'/>",
    "<report xmlns='urn:xmpp^:reporting:1' reason='urn:xmpp^:reporting:spam'/>",
    '<p:report xmlns:p="jabber:x" reason="HTTP^://a"/>',
    "<report reason='https://a'/>",
    "<report reason='jabber:x'/>",
    "<encryption for='http://a' reason='http://a'/>",
    "<fallback namespace='http://a' reason='http://a'/>",
    "<report namespace='http://a' for='http://a'/>",
    "<reports reason='http://a'/>",
    "<x reason='http://a' for='http://a' namespace='http://a'/>",
    "<report xmlns:p='jabber:x' p:reason='http://a'/>",
)
def test_references_to_namespaces_are_upgraded_by_scheme(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


# -- what is never touched ----------------------------------------------------------------------------------

#: a bit of everything that would be upgraded where it counts
TEMPTING = (
    "<a xmlns='http://a' xmlns:p=\"urn:xmpp:a\"><feature var='urn:xmpp:ping'/><field var='FORM_TYPE'>"
    "<value>http://a</value></field><x node='http://jabber.org/protocol/commands'/></a>"
)
ESCAPED = TEMPTING.replace("<", "&lt;").replace("--", "")


@cases(
    "<body>http://a urn:xmpp:text</body>",
    '<body> xmlns=\'http://a\' var="urn:xmpp:a" "http://a" \'urn:xmpp:a\' it\'s > 5 "quotes" </body>',
    f"<body>{ESCAPED}</body>",
    "<body>= 'http://a</body>",
    "<body>\"h 'u \"&amp; '{http://a} 'FORM_TYPE'</body>",
    "<value>http://a</value>",
    "<a href='http://a' src=\"urn:xmpp:a\" url='http://a' id='http://1'/>",
    "<feature a=' xmlns=\"http://a\"' b=\" var='http://a'\"/>",
    "<feature a='> xmlns=' b='>' c=\"/>\" d='http://a'/>",
    "<a b='xmlns=' http='//a'/>",
    f"<!-- {TEMPTING} --><a/>",
    f"<!--{TEMPTING}--><a/><!--{TEMPTING}-->",
    f"<a><!-- \" {TEMPTING} ' -></a> ->--></a>",
    f"<a><![CDATA[{TEMPTING}]]></a>",
    f"<a><![CDATA[{TEMPTING}]] > ]>]]]]><![CDATA[> ' ]]></a>",
    "<a><![CDATA[<![CDATA[<b xmlns='http://a'/>]]></a>",
    "<a><![CDATA[]]]></a>",
    f"<a><?pi {TEMPTING} ? > ??></a>",
    f"<?pi {TEMPTING}?><a/><?pi '?>",
    "<?xml-stylesheet href='http://a'?><a/>",
    "<?xml version='1.0' encoding='utf-8' standalone='no'?><a/>",
)
def test_text_other_attributes_comments_cdata_and_instructions_stay(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


@cases(
    "<a><!----><b xmlns='http^://a'/></a>",
    "<a><!-- ' --><b xmlns='http^://a'/><!-- ' --></a>",
    "<a><!-- - -> > <!-> --><b xmlns='http^://a'/></a>",
    "<a><![CDATA[]]><b xmlns='http^://a'/></a>",
    "<a><![CDATA[ \" <c ]]><b xmlns='http^://a'/></a>",
    "<a><![CDATA[]]]]><b xmlns='http^://a'/></a>",
    "<a><?p?><b xmlns='http^://a'/></a>",
    "<a><?p ' ?><b xmlns='http^://a'/></a>",
    "<a><?p ? > ??><b xmlns='http^://a'/></a>",
    "<a>it's <b xmlns='http^://a'/> it's</a>",
    '<a>" <b xmlns="http^://a"/> "</a>',
    "<a>'h <b xmlns='http^://a'/>'u</a>",
    "<a>> <b xmlns='http^://a'/> /></a>",
    "<a>= <b xmlns='http^://a'/> xmlns=</a>",
    "<a>]] > <b xmlns='http^://a'/></a>",
    "<a b='>' xmlns='http^://a'/>",
    "<a b='/>' c=\"it's\" d='\"' xmlns='http^://a'/>",
    "<a b='=' c='' xmlns='http^://a' d=\"xmlns='http://a'\"/>",
    "<a b=\" xmlns='http://a\" xmlns='http^://a'/>",
    "<a b='--&gt;' xmlns='http^://a'/>",
    "<a b='&lt;!--' xmlns='http^://a'/>",
    "<a b='!-- ?' xmlns='http^://a'/>",
    "<feature b='h' c=\"u\" d='{' e='F' f='&amp;' var='http^://a'/>",
    "<feature b='http' c=\"urn\" d='{h' e='FORM_TYPE' f='&#104;' var='http^://a'/>",
    "<a><b x='h'/><b xmlns='http^://a' x='h'/></a>",
)
def test_but_what_stands_beside_them_is_found(marked: str) -> None:
    assert_upgraded_by_oracles(marked)


DOCTYPES = [
    "<!DOCTYPE a>",
    "<!DOCTYPE\na\n>",
    "<!DOCTYPE a SYSTEM 'http://a'>",
    '<!DOCTYPE a PUBLIC "-//http:" \'urn:xmpp:>"a\'>',
    "<!DOCTYPE a []>",
    f"<!DOCTYPE a [<!-- {TEMPTING} ]> ' \" -->]>",
    f"<!DOCTYPE a [<?pi {TEMPTING} ]> ' \" ?> ] >",
    "<!DOCTYPE a [<!ENTITY e 'http://a'><!ENTITY f \"&#60;b xmlns='http://a'/>]>\"> ]>",
    "<!DOCTYPE a [<!ENTITY e ']>'>]>",
    '<!DOCTYPE a [<!ENTITY e "]>\'">]>',
    "<!DOCTYPE a [<!ENTITY e '<b xmlns=\"http://a\"/>'>]>",
    "<!DOCTYPE a [<!ENTITY e '<!--'>]>",
    "<!DOCTYPE a [<!ENTITY e '<![CDATA['>]>",
    "<!DOCTYPE a [<!ATTLIST zz xmlns CDATA 'http://a' var CDATA \"urn:xmpp:a\">]>",
    "<!DOCTYPE a [<!ELEMENT a ANY><!ATTLIST zz b CDATA #IMPLIED>]>",
    "<!DOCTYPE a [<!NOTATION n SYSTEM 'http://a'>]>",
    "<!DOCTYPE a [ <!-- it's --> <!ENTITY e 'x'> ]>",
    "<!DOCTYPE a SYSTEM 'x[' [<!ENTITY % p 'http://a'> ]\n>",
]


@pytest.mark.parametrize("doctype", DOCTYPES)
def test_the_dtd_stays_and_ends_where_it_ends(doctype: str) -> None:
    assert_upgraded_by_oracles(f"{doctype}<a xmlns='http^://a'/>")
    assert_upgraded_by_oracles(f"<?xml version='1.0'?>\n<!-- ' -->{doctype}<!-- ' --><a xmlns='http^://a'>it's</a>")


def test_an_entity_of_the_document_is_not_followed() -> None:
    """The DTD is never touched, whatever it contains, and ``&e;`` has no letters of the name."""
    assert_upgraded("<!DOCTYPE a [<!ENTITY e 'http://a'>]><feature var='&e;' xmlns='http^://b'>&e;</feature>")


# -- encodings ----------------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_passed_over() -> None:
    assert_upgraded_by_oracles("\ufeff<a xmlns='http^://a'/>")
    assert_upgraded_by_oracles("\ufeff<?xml version='1.0'?><feature var='urn:xmpp^:a'>\u00e9</feature>")


def test_encodings_that_contain_ascii_work() -> None:
    for encoding in ("iso-8859-1", "windows-1252", "koi8-r"):
        marked = f"<?xml version='1.0' encoding='{encoding}'?><a b='\u00a9' xmlns='http^://\u00b0'>\u00a9 http:</a>"
        xml = marked.replace("^", "").encode(encoding)
        assert upgrade(xml) == marked.replace("^", "s").encode(encoding)
    xml = "<?xml version='1.0' encoding='iso-8859-1'?><feature var='http://\u00fc'/>".encode("iso-8859-1")
    assert_mapped(xml, upgrade(xml), upgraded)
    assert [ref.name for ref in scan(xml)] == [b"http://\xfc".decode("utf-8", "surrogateescape")]


WIDE = [
    pytest.param(start.encode(encoding), id=f"{encoding} {start[:1]!r}")
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")
    for start in ("<a xmlns='http://a'/>", " <a/>", "\n<a/>", "\ufeff<a/>", "<")
]


@pytest.mark.any_isa
@pytest.mark.parametrize("xml", WIDE)
def test_utf_16_and_utf_32_are_refused(xml: bytes) -> None:
    expected = (
        "XML in UTF-8 or another ASCII-compatible encoding is needed, not UTF-16 or UTF-32"
        f" (it begins with {xml[:4]!r}) (at byte 0)"
    )
    for call in (scan, upgrade, downgrade, xep419.encrypt, lambda data: xep419.encrypt_many([b"<a/>", data])):
        for form in (xml, bytearray(xml), memoryview(xml)):
            with pytest.raises(EncodingError) as info:
                call(form)
            assert str(info.value) == expected
            assert info.value.offset == 0
            assert isinstance(info.value, ValueError)
            assert isinstance(info.value, xep419.XEP419Error)


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xfe", b"\0a", b"a\0", b"\xff\xff", b"\xef\xbb\xbf", b"\0\0\0", b"\0\0\0\0", b"\xff\xfd"]
)
def test_nothing_else_is_refused(data: bytes) -> None:
    assert upgrade(data) is data
    assert scan(data) == []
    assert upgrade(data + b"x<a xmlns='http://a'/>") == data + b"x<a xmlns='https://a'/>"


def test_text_is_never_in_utf_16() -> None:
    assert upgrade("<\0a xmlns='http://a'/>") == "<\0a xmlns='https://a'/>"


# -- any bytes ----------------------------------------------------------------------------------------------

#: everything in one document
EVERYTHING = (
    "\ufeff<?xml version='1.0' encoding='utf-8'?><!DOCTYPE a [<!-- ]> ' --><!ENTITY e ']>\"'><?p ]>?>]><!-- http: -->"
    "<a xmlns='http^://a' xmlns:p = \"urn:xmpp^:p\" b='>'>it's \U0001f600 \"http://a\""
    "<p:feature var='&#x68;ttp^:\u00e9'/>"
    "<![CDATA[<b xmlns='http://a'/>]] >]]><field var='F&#79;RM_TYPE'><value> &#32;<!----> urn&#58;xmpp^:a</value>"
    "<value><![CDATA[http:]]></value></field><field var='{http^:}b'/><x node='http^://jabber.org/protocol/muc#rooms'/>"
    f"<c xmlns='http^://jabber.org/protocol/caps' node='{COMMANDS}'><y><c node='urn:xmpp:a'/></y>"
    f"</c><c node='{UP}'/><fallback for='urn:xmpp^:r'/><?pi <b xmlns='http:'/>?></a><!-- end -->\n"
)


def test_everything_in_one_document() -> None:
    assert_upgraded_by_oracles(EVERYTHING)


def test_a_document_cut_anywhere_loses_nothing() -> None:
    xml = before(EVERYTHING)
    whole = insertions(xml, upgrade(xml))
    for cut in range(len(xml) + 1):
        head, tail = xml[:cut], xml[cut:]
        places = insertions(head, upgrade(head))
        assert set(places) <= set(whole) | {len(head)}
        insertions(tail, upgrade(tail))
        assert upgrade(upgrade(tail)) == upgrade(tail)
        assert all(0 <= ref.start < ref.end <= len(tail) for ref in scan(tail))


@pytest.mark.parametrize("change", [b"", b"<", b">", b"'", b'"', b"/", b"=", b"&", b"\0", b"\xff", b"\xed\xa0\x80"])
def test_a_document_damaged_anywhere_loses_nothing(change: bytes) -> None:
    xml = before(EVERYTHING)
    for at in range(3, len(xml)):
        damaged = xml[:at] + change + xml[at + 1 :]
        result = upgrade(damaged)
        insertions(damaged, result)
        assert upgrade(result) is result


@pytest.mark.parametrize(
    "data",
    [
        b"<", b"<<", b"</", b"<!", b"<?", b"<a", b"<a ", b"<a b", b"<a b=", b"<a b='", b"<a xmlns='http:", b"<!-",
        b"<!--", b"<!-->", b"<!--->", b"<![CDATA[", b"<![CDATA[]]", b"<!DOCTYPE", b"<!DOCTYPE a [", b"<!DOCTYPE a ['",
        b"<?>", b"<>",
        b"</>", b"< a xmlns='http://a'/>", b"</a xmlns='http://a'>", b"<'http://a'>", b"<a'http://a'>", b"<a='http://a'/>",
        b"xmlns='http://a'", b"<a =' http://a' ='http://a'/>", b"<field var='FORM_TYPE'><value>", b"&", b"&#", b"'h",
        b"<!DOCTYPE a [<!ENTITY e 'x><a xmlns='http://a'/>", b"<xmlns='http://a'/>", b"<node='urn:xmpp:a'/>",
        b"<a xmlns\0='http://a'/>", b"<!x<a xmlns='http://a'/>", b"<a xmlns:='http://a'/>",
    ],
)  # fmt: skip
def test_fragments_come_back_as_they_are(data: bytes) -> None:
    assert upgrade(data) is data
    assert scan(data) == []


@cases(
    "<a <b xmlns='http^://a'/>",
    "<a b=' <b xmlns='http^://a'/>",
    "<a b='<b xmlns='http^://a'/>",
    "</a <b xmlns='http^://a'/>",
    "<<a xmlns='http^://a'/>",
    "<a xmlns='http^://a' b=<c xmlns='http^://a'/>",
    "<a xmlns='http^://a'xmlns:b='http^://b'/>",
    "<a xmlns='http^://a' xmlns='http^://b'/>",
    "<a xmlns='http^://a'",
    "<a xmlns='http^://a' b='",
    "</b></b><a xmlns='http^://a'/></b>",
    "<a/><a xmlns='http^://a'/>",
    "text<a xmlns='http^://a'/>",
    "<a xmlns='http^://a'><b></a></c>",
    "<a =x xmlns='http^://a'/>",
    "<a b=c xmlns='http^://a'/>",
    "<a = = xmlns='http^://a'/>",
    "<a/ xmlns='http^://a'>",
    "<field var='FORM_TYPE'><value>http^://a",
    "<field var='FORM_TYPE'><value>http^://a<",
    "<field var='FORM_TYPE'></x><value>http://a</value></field>",
    "<x \0='' xmlns='http^://a\0'/>",
)
def test_malformed_xml_is_read_by_its_quotes_and_brackets(marked: str) -> None:
    with pytest.raises(NotNamespaceWellFormedError):
        parse_expat(before(marked))
    assert_upgraded(marked)


def test_bytes_that_are_not_utf_8_pass() -> None:
    assert upgrade(b"<a\xff\xfe xmlns='http://\x80\xff' \xc3='\xed\xb2\x80'/>\xf8") == (
        b"<a\xff\xfe xmlns='https://\x80\xff' \xc3='\xed\xb2\x80'/>\xf8"
    )
    assert upgrade("<a b='\udcff' xmlns='http://\ud800'/>") == "<a b='\udcff' xmlns='https://\ud800'/>"


# -- sizes: wherever a name stands in a vector or a window --------------------------------------------------


def test_a_name_is_found_at_any_offset() -> None:
    tag, upgraded_tag = b"<a xmlns='http://a'/>", b"<a xmlns='https://a'/>"
    for pad in range(200):
        for filler in (b" ", b"'", b'"h', b">", b"=", b"/"):
            text = (filler * 200)[:pad]
            assert upgrade(text + tag) == text + upgraded_tag
            assert upgrade(text + tag + text) == text + upgraded_tag + text


def test_a_name_is_found_at_any_offset_of_its_tag() -> None:
    for pad in range(200):
        name, value = b"b" * (pad + 1), b'"h>=/' * (pad // 5) + b"x" * (pad % 5)
        for head in (b"<" + name, b"<a " + name + b"=''", b"<a " + name + b" = '" + value + b"'", b"<a" + b"\n" * pad):
            for tail in (b"/>", b" " + name + b"='>'/>", b">" + value):
                xml = head + b" xmlns='http://" + value + b"'" + tail
                assert upgrade(xml) == xml.replace(b"xmlns='http:", b"xmlns='https:")


def test_a_name_is_found_across_the_windows_of_the_search() -> None:
    """Candidates are listed for 32 KiB at a time."""
    for window in (1 << 15, 1 << 16):
        for shift in range(-40, 8):
            for filler in (b"x", b"'h"):
                text = b"<a>" + (filler * window)[: window + shift]
                assert upgrade(text + b"<a xmlns='http://a'/></a>") == text + b"<a xmlns='https://a'/></a>"


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 3000])
def test_any_number_of_names(count: int) -> None:
    for piece in ("<a xmlns='http^://a'/>", "<a b='http' xmlns='http^://a'>\"h</a>"):
        assert_upgraded(piece * count)
    attributes = "".join(f" xmlns:p{i}='http^://{i}'" for i in range(count))
    assert_upgraded(f"<a{attributes}/>")
    assert_upgraded(f"<c node='{UP}'{attributes}>")
    assert [ref.start for ref in scan(before(f"<c{attributes} node='{UP}'>"))] == sorted(
        ref.start for ref in scan(before(f"<c{attributes} node='{UP}'>"))
    )


# -- results ------------------------------------------------------------------------------------------------

CHANGING, UNCHANGING = b"<a xmlns='http://a'/>", b"<a xmlns='jabber:a'/>"


@pytest.mark.parametrize("call", [upgrade, downgrade])
def test_the_same_object_comes_back_when_nothing_changes(call: Callable[..., object]) -> None:
    for xml in (UNCHANGING, UNCHANGING.decode(), b"", "", "<a>\u00e9\U0001f600</a>", "\udcff"):
        assert call(xml) is xml


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda data: array.array("B", data)])
def test_any_other_buffer_gives_bytes(kind: Callable[[bytes], bytearray]) -> None:
    for data in (CHANGING, UNCHANGING, b""):
        source = kind(data)
        for call, expected in ((upgrade, upgrade(data)), (downgrade, data), (xep419.encrypt, upgrade(data))):
            result = call(source)
            assert type(result) is bytes
            assert result == expected
        assert bytes(source) == data
        assert scan(source) == scan(data)


def test_text_gives_text() -> None:
    for text in (
        "<a xmlns='http://a'/>",
        "<a xmlns='http://\u00e9\u4e00\U0001f600'>\u00ff</a>",
        "<a xmlns='http://a'>\u0100",
    ):
        result = upgrade(text)
        assert type(result) is str
        assert result == text.replace("http", "https")
        assert downgrade(result, known_only=False) == text


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (None, TypeError, "xml must be a bytes-like object or str, not 'NoneType'"),
        (1, TypeError, "xml must be a bytes-like object or str, not 'int'"),
        ([b""], TypeError, "xml must be a bytes-like object or str, not 'list'"),
        (array.array("H", [1]), ValueError, "xml must hold 1-byte items, not 2-byte items of format 'H' ('array')"),
        (memoryview(b"abcd")[::2], BufferError, "xml must be C-contiguous, not a strided 'memoryview'"),
    ],
)
def test_other_types_are_refused(wrong: object, error: type[Exception], message: str) -> None:
    for call in (upgrade, downgrade, scan):
        with pytest.raises(error) as info:
            call(wrong)  # type: ignore[operator]
        assert str(info.value) == message


def test_arguments_are_positional_and_options_named() -> None:
    for call in (lambda: upgrade(xml=b""), lambda: upgrade(b"", Scope.ALL), lambda: scan(b"", Scope.ALL)):
        with pytest.raises(TypeError):
            call()  # type: ignore[operator]
    with pytest.raises(TypeError):
        downgrade(b"", Scope.ALL, False)  # type: ignore[misc]


# -- scan ---------------------------------------------------------------------------------------------------


def test_scan_tells_names_in_document_order() -> None:
    xml = before(EVERYTHING)
    refs = scan(xml)
    assert [(ref.name, ref.kind.name, ref.secure) for ref in refs] == [
        ("http://a", "DECLARATIONS", False),
        ("urn:xmpp:p", "DECLARATIONS", False),
        ("http:\u00e9", "FEATURES", False),
        ("urn:xmpp:a", "FORM_TYPES", False),
        ("http:", "FIELDS", False),
        ("http://jabber.org/protocol/muc#rooms", "NODES", False),
        (CAPS, "DECLARATIONS", False),
        (COMMANDS, "NODES", False),
        ("urn:xmpp:r", "REFERENCES", False),
    ]
    assert [xml[ref.start : ref.end].decode() for ref in refs] == [
        "http://a", "urn:xmpp:p", "&#x68;ttp:\u00e9", "urn&#58;xmpp:a", "http:", "http://jabber.org/protocol/muc#rooms",
        CAPS, COMMANDS, "urn:xmpp:r",
    ]  # fmt: skip
    for ref in refs:
        assert type(ref) is NamespaceRef
        assert ref == (ref.start, ref.end, ref.name, ref.kind, ref.secure)
        assert isinstance(ref.kind, Scope)
        assert type(ref.secure) is bool


def test_scan_tells_secure_names_too() -> None:
    xml = (
        "<a xmlns='https://a' xmlns:b='urn:xmpps:b' xmlns:c='http&#115;:c'><x node='https://jabber.org/protocol/tune'/>"
    )
    assert scan(xml) == [
        (10, 19, "https://a", Scope.DECLARATIONS, True),
        (30, 41, "urn:xmpps:b", Scope.DECLARATIONS, True),
        (52, 64, "https:c", Scope.DECLARATIONS, True),
        (75, 107, "https://jabber.org/protocol/tune", Scope.NODES, True),
    ]


def test_offsets_of_text_are_those_of_its_utf_8_form() -> None:
    text = "\U0001f600\u00e9<a b='\u4e00' xmlns='http://\u00e9'/>"
    (ref,) = scan(text)
    assert text.encode()[ref.start : ref.end] == "http://\u00e9".encode()
    assert scan(text) == scan(text.encode())


def test_scan_leaves_white_space_around_a_value_out() -> None:
    xml = b"<field var='FORM_TYPE'><value>\n\t http://a b \n</value></field>"
    (ref,) = scan(xml)
    assert xml[ref.start : ref.end] == b"http://a b"


def test_scan_does_not_change_what_it_saw() -> None:
    source = bytearray(CHANGING)
    refs = scan(source)
    source[:] = b"x" * len(source)
    assert refs == scan(CHANGING)


# -- scope --------------------------------------------------------------------------------------------------

BY_SCOPE = {
    Scope.DECLARATIONS: "<a xmlns='http^://a'/>",
    Scope.FEATURES: "<feature var='http^://a'/>",
    Scope.FORM_TYPES: "<field var='FORM_TYPE'><value>http^://a</value></field>",
    Scope.FIELDS: "<field var='{http^://a}b'/>",
    Scope.NODES: f"<c node='{UP}'/>",
    Scope.REFERENCES: "<fallback for='http^://a'/>",
}


def subsets() -> Iterable[tuple[Scope, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(BY_SCOPE, size) for size in range(7))


def test_every_scope_alone_and_combined() -> None:
    xml = before("".join(BY_SCOPE.values()))
    secure = upgrade(xml)
    for members in subsets():
        scope = Scope(0)
        for member in members:
            scope |= member
        expected = b"".join((after if member in members else before)(marked) for member, marked in BY_SCOPE.items())
        assert upgrade(xml, scope=scope) == expected
        assert [ref.kind for ref in scan(xml, scope=scope)] == list(members)
        assert downgrade(secure, scope=~scope, known_only=False) == expected
    assert Scope(63) is Scope.ALL
    assert upgrade(xml, scope=Scope.ALL) == secure
    assert upgrade(xml, scope=Scope(0)) is xml


def test_caps_are_known_by_their_declaration_whatever_the_scope() -> None:
    xml = f"<a xmlns:p='{CAPS}'><p:c node='{COMMANDS}'/><p:x node='{COMMANDS}'/></a>"
    assert upgrade(xml, scope=Scope.NODES) == xml.replace(f"x node='{COMMANDS}", f"x node='{UP.replace('^', 's')}")


@pytest.mark.parametrize("wrong", [None, 1, 63, "ALL", Scope, (Scope.NODES,)])
@pytest.mark.parametrize("call", [upgrade, downgrade, scan])
def test_a_scope_is_a_scope(call: Callable[..., object], wrong: object) -> None:
    with pytest.raises(TypeError) as info:
        call(b"<a/>", scope=wrong)
    assert str(info.value) == f"scope must be a xep419.Scope, not {type(wrong).__name__!r}"


# -- downgrade ----------------------------------------------------------------------------------------------


def known(name: str) -> str:
    return f"<a xmlns='{name}'><feature var='{name}'/><field var='{{{name}}}b'/><report reason='{name}'/></a>"


@pytest.mark.parametrize(
    "name",
    [
        "https://jabber.org/protocol/muc",
        "https://jabber.org/protocol/commands",
        "urn:xmpps:ping",
        "https://jabber.org/protocol/muc#roomconfig",  # a form type
        "https://jabber.org/protocol/amp?action=alert",  # a feature
        "urn:xmpps:avatar:metadata+notify",
        "https://jabber.org/protocol/tune+notify",
        "https://jabber.org/protocol/muc#no-such-suffix",
        "https://jabber.org/protocol/muc#",
        "https://jabber.org/protocol/pubsub#a#b+notify",
        "https&#58;//jabber.org/protocol/mu&#99;",
        "&#104;ttp&#115;://jabber.org/protocol/muc&#43;notify",
    ],
)
def test_downgrade_takes_the_letter_of_registered_names(name: str) -> None:
    xml = known(name)
    expected = xml.replace("ps:", "p:").replace("&#115;", "").replace("ps&#58;", "p&#58;")
    assert downgrade(xml) == expected
    assert downgrade(xml, known_only=True) == expected
    assert downgrade(xml, known_only=False) == expected
    assert downgrade(xml.encode()) == expected.encode()
    assert downgrade(expected) is expected


@pytest.mark.parametrize(
    "name",
    [
        "https://xmlns.zombofant.net/muclumbus/search/1.0",
        "https://example.org/",
        "https://jabber.org/protocol/mucx",
        "https://jabber.org/protocol/mu",
        "https://jabber.org/protocol/muc/x",
        "https://jabber.org/protocol/muc+notif",
        "https://jabber.org/protocol/muc+notify+notify",
        "https://jabber.org/protocol/muc+notifyx",
        "urn:xmpps:no-such-name",
        "URN:XMPPs:ping",  # registered names are compared by letter
        "urn:xmpps:no-such-name#x",
        "https:",
        "urn:xmpps:",
        "https://" + "x" * 100 + "#",
    ],
)
def test_downgrade_leaves_names_born_secure(name: str) -> None:
    xml = known(name)
    assert downgrade(xml) is xml
    assert downgrade(xml, known_only=False) == xml.replace("ps:", "p:").replace("Ps:", "P:")


@cases(
    "<query node='https://jabber.org/protocol/commands'/>",
    "<query node='https://jabber.org/protocol/commands#x'/>",
    "<query node='urn:xmpps:avatar:data'/>",
    f"<field var='FORM_TYPE'><value>\n{CAPS.replace('http', 'https')}\n</value></field>",
)
def test_downgrade_in_nodes_and_forms(marked: str) -> None:
    assert downgrade(marked) == marked.replace("https", "http").replace("xmpps", "xmpp")


@cases(
    "<query node='https://example.org/client#hash'/>",
    f"<c xmlns='jabber:x'><c xmlns='{CAPS}' node='https://jabber.org/protocol/commands'/></c>",
    f"<c xmlns='{CAPS}' node='https://jabber.org/protocol/commands'/>",
    "<body>https://jabber.org/protocol/muc</body>",
    f"<!-- {TEMPTING.replace('http:', 'https:')} --><a/>",
    "<a xmlns:xml='https://www.w3.org/XML/1998/namespace'/>",
    "<a href='https://jabber.org/protocol/muc'/>",
)
def test_downgrade_touches_no_other_position(marked: str) -> None:
    for known_only in (True, False):
        assert downgrade(marked, known_only=known_only) is marked


def test_downgrade_takes_the_letter_in_any_spelling() -> None:
    for spelled in ("s", "S", "&#115;", "&#83;", "&#x73;", "&#x53;", "&#0000000115;", "&#x000073;"):
        xml = f"<a xmlns='http{spelled}://a' xmlns:b='urn:xmpp{spelled}&#58;b'/>"
        assert downgrade(xml, known_only=False) == "<a xmlns='http://a' xmlns:b='urn:xmpp&#58;b'/>"
        assert upgrade(xml) is xml


def test_downgrade_is_the_inverse_where_no_name_was_secure() -> None:
    xml = before(EVERYTHING)
    assert downgrade(upgrade(xml), known_only=False) == xml
    mixed = b"<a xmlns='http://a'><b xmlns='https://b'/></a>"
    assert downgrade(upgrade(mixed), known_only=False) == b"<a xmlns='http://a'><b xmlns='http://b'/></a>"


def test_known_only_is_a_truth_value() -> None:
    xml = b"<a xmlns='https://example.org/'/>"
    assert downgrade(xml, known_only=1) is xml  # type: ignore[arg-type]
    assert downgrade(xml, known_only=0) == b"<a xmlns='http://example.org/'/>"  # type: ignore[arg-type]


# -- encrypt ------------------------------------------------------------------------------------------------


def test_encrypt_upgrades_and_rotates_twice() -> None:
    for marked in (EVERYTHING, *BY_SCOPE.values(), "", "<a/>"):
        assert xep419.encrypt(before(marked)) == after(marked)
        assert xep419.encrypt(before(marked).decode()) == after(marked).decode()
        assert xep419.decrypt(after(marked)) == after(marked)


# -- names --------------------------------------------------------------------------------------------------


@pytest.mark.any_isa
@pytest.mark.parametrize(
    ("insecure", "secure"),
    [
        ("http://jabber.org/protocol/muc", "https://jabber.org/protocol/muc"),
        ("urn:xmpp:mam:2", "urn:xmpps:mam:2"),
        ("http:", "https:"),
        ("urn:xmpp:", "urn:xmpps:"),
        ("HTTP://a", "HTTPs://a"),
        ("hTtP://a", "hTtPs://a"),
        ("URN:XMPP:a", "URN:XMPPs:a"),
        ("urn:xmpp:http://a", "urn:xmpps:http://a"),
        ("http://urn:xmpp:a", "https://urn:xmpp:a"),
        ("http:s", "https:s"),
        ("urn:xmpp:avatar:metadata+notify", "urn:xmpps:avatar:metadata+notify"),
    ],
)
def test_names_gain_and_lose_their_letter(insecure: str, secure: str) -> None:
    assert upgrade_name(insecure) == secure
    assert upgrade_name(secure) is secure
    assert downgrade_name(secure) == insecure
    assert downgrade_name(insecure) is insecure
    assert is_secure(secure)
    assert not is_secure(insecure)


@pytest.mark.any_isa
@pytest.mark.parametrize(
    "name",
    [
        "", "h", "http", "https", "httpx:", "httpss:", " http:", "urn:xmpp", "urn:xmpps", "urn:xmppss:", "urn:xmpp2:a",
        "urn:", "jabber:client", "vcard-temp", "urn:ietf:params:xml:ns:xmpp-sasl", "&#104;ttp:", "{http://a}b",
        "\uff48ttp:", "http\uff1a", "urn:xmpp\u017f:",
    ],
)  # fmt: skip
def test_other_names_keep_theirs(name: str) -> None:
    assert upgrade_name(name) is name
    assert downgrade_name(name) is name
    assert not is_secure(name)


@pytest.mark.any_isa
@pytest.mark.parametrize("call", [upgrade_name, downgrade_name, is_secure])
@pytest.mark.parametrize("wrong", [None, b"http:", 1, ["http:"]])
def test_a_name_is_text(call: Callable[[object], object], wrong: object) -> None:
    with pytest.raises(TypeError) as info:
        call(wrong)
    assert str(info.value) == f"a namespace name is a str, not {type(wrong).__name__!r}"
