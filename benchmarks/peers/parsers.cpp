// The C++ parsers among the peers, called within the process by ctypes so that no start-up is timed.
// Each answers with the number of elements, or -1 when the document was refused.

#include <pugixml.hpp>
#include <rapidxml/rapidxml.hpp>

namespace {

template <class Node, class First, class Next>
long elements_below(Node node, First first, Next next)
{
    long count = 0;
    for (Node child = first(node); child; child = next(child))
        count += 1 + elements_below(child, first, next);
    return count;
}

} // namespace

extern "C" long parse_with_pugixml(const char *xml, unsigned long size, int count)
{
    pugi::xml_document document;
    if (!document.load_buffer(xml, size, pugi::parse_default, pugi::encoding_utf8))
        return -1;
    if (!count)
        return 0;
    long found = 0;
    struct walker : pugi::xml_tree_walker {
        long *found;
        bool for_each(pugi::xml_node &node) override
        {
            *found += node.type() == pugi::node_element;
            return true;
        }
    } walk;
    walk.found = &found;
    document.traverse(walk);
    return found;
}

// xml[size] must be 0; parse_fastest leaves the text as it is.
extern "C" long parse_with_rapidxml(char *xml, unsigned long, int count)
{
    rapidxml::xml_document<> document;
    try {
        document.parse<rapidxml::parse_fastest>(xml);
    } catch (const rapidxml::parse_error &) {
        return -1;
    }
    using node = rapidxml::xml_node<> *;
    auto is_element = [](node at) {
        while (at && at->type() != rapidxml::node_element)
            at = at->next_sibling();
        return at;
    };
    if (!count)
        return 0;
    return elements_below<node>(
        &document, [&](node at) { return is_element(at->first_node()); },
        [&](node at) { return is_element(at->next_sibling()); });
}
