import CXML

/// What a browser would show of an HTML page, and its title; neither scripts nor styles. By libxml2's forgiving parser.
package enum HTMLText {
    private static let unseen: Set<String> = ["script", "style", "template", "noscript", "object", "svg", "math"]
    private static let inline: Set<String> = [
        "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd", "mark",
        "q",
        "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr",
    ]

    /// `partly`: there was no memory for the rest of the page.
    package enum Outcome: Sendable, Equatable { case read, partly, damaged }

    package static func read(_ octets: [UInt8], into text: inout TextBuffer) -> Outcome {
        hds_prepare_xml()
        guard let size = Int32(exactly: octets.count) else { return .damaged }
        let options =
            HTML_PARSE_RECOVER.rawValue | HTML_PARSE_NOERROR.rawValue | HTML_PARSE_NOWARNING.rawValue
            | HTML_PARSE_NONET.rawValue
        // Pages say their encoding in a `meta`; one that does not and is UTF-8 is taken as that.
        let encoding = declaresEncoding(octets) || String(validating: octets, as: UTF8.self) == nil ? nil : "UTF-8"
        let document = unsafe octets.withUnsafeBytes { octets in
            unsafe htmlReadMemory(
                octets.baseAddress?.assumingMemoryBound(to: CChar.self), size, nil, encoding, Int32(options))
        }
        guard let page = unsafe document else { return .damaged }
        defer { unsafe xmlFreeDoc(page) }
        var node: xmlNodePtr? = unsafe xmlDocGetRootElement(page)
        while let current = unsafe node, !text.isFull {
            let isSeen = unsafe enter(current, &text)
            if isSeen, let child = unsafe current.pointee.children {
                unsafe node = child
                continue
            }
            unsafe node = following(current, &text)
        }
        return hds_xml_was_short_of_memory() == 0 ? .read : .partly
    }

    private static func declaresEncoding(_ octets: [UInt8]) -> Bool {
        String(decoding: octets.prefix(4096), as: UTF8.self).lowercased().contains("charset=")
    }

    private static func enter(_ node: xmlNodePtr, _ text: inout TextBuffer) -> Bool {
        switch unsafe node.pointee.type {
        case XML_TEXT_NODE:
            if let content = unsafe node.pointee.content { unsafe append(content, &text) }
            return false
        case XML_ELEMENT_NODE:
            let name = unsafe elementName(node)
            if unseen.contains(name) { return false }
            if !inline.contains(name) { text.line() }
            return true
        case XML_HTML_DOCUMENT_NODE, XML_DOCUMENT_NODE:
            return true
        default:
            return false
        }
    }

    /// The next node after a node and all below it.
    private static func following(_ node: xmlNodePtr, _ text: inout TextBuffer) -> xmlNodePtr? {
        var current = unsafe node
        while true {
            if let next = unsafe current.pointee.next { return unsafe next }
            guard let parent = unsafe current.pointee.parent, unsafe parent.pointee.type == XML_ELEMENT_NODE else {
                return nil
            }
            if unsafe !inline.contains(elementName(parent)) { text.line() }
            unsafe current = parent
        }
    }

    private static func elementName(_ node: xmlNodePtr) -> String {
        guard let name = unsafe node.pointee.name else { return "" }
        return unsafe String(cString: name).lowercased()
    }

    /// Runs of white space are one space.
    private static func append(_ content: UnsafePointer<xmlChar>, _ text: inout TextBuffer) {
        var run: [UInt8] = []
        var next = unsafe content
        while case let octet = unsafe next.pointee, octet != 0 {
            if octet <= 0x20 {
                if !run.isEmpty { text.append(run) }
                run.removeAll(keepingCapacity: true)
                text.space()
            } else {
                run.append(octet)
            }
            unsafe next += 1
        }
        if !run.isEmpty { text.append(run) }
    }
}
