import CXML
package import CalendarBackend

/// Reads the XML of an answer by libxml2's streaming reader, as if the server were hostile: no document type, so no
/// entity of its own; nothing is fetched; octets, depth and elements are bounded; UTF-8 whatever it declares.
///
/// Any thread. Errors are `CalendarError`s with `protocolViolation` and no octet of the answer.
package enum XMLParser {
    package static let deepest = 24
    package static let mostElements = 500_000

    private static let isPrepared: Bool = {
        xmlInitParser()
        return true
    }()

    package static func parse(_ octets: [UInt8]) throws(CalendarError) -> XMLElement {
        _ = isPrepared
        try checkProlog(octets)
        guard let size = Int32(exactly: octets.count) else { throw hostile("more than 2 GiB") }
        let result: Result<XMLElement, CalendarError> = unsafe octets.withUnsafeBytes { octets in
            let options = XML_PARSE_NONET.rawValue | XML_PARSE_NOERROR.rawValue | XML_PARSE_NOWARNING.rawValue
            guard
                let reader = unsafe xmlReaderForMemory(
                    octets.baseAddress?.assumingMemoryBound(to: CChar.self), size, nil, "UTF-8", Int32(options))
            else { return .failure(hostile("no reader for it")) }
            defer { unsafe xmlFreeTextReader(reader) }
            return Result { () throws(CalendarError) in try unsafe tree(reader) }
        }
        return try result.get()
    }

    private static func tree(_ reader: xmlTextReaderPtr) throws(CalendarError) -> XMLElement {
        var open: [XMLElement] = []
        var root: XMLElement?
        var count = 0
        func close() {
            guard let done = open.popLast() else { return }
            if open.isEmpty { root = done } else { open[open.count - 1].children.append(done) }
        }
        var status = unsafe xmlTextReaderRead(reader)
        while status == 1 {
            switch UInt32(bitPattern: unsafe xmlTextReaderNodeType(reader)) {
            case XML_READER_TYPE_ELEMENT.rawValue:
                count += 1
                guard count <= mostElements else { throw hostile("more than \(mostElements) elements") }
                guard open.count < deepest else { throw hostile("elements more than \(deepest) deep") }
                // Before the attribute, which moves the reader.
                let isEmpty = unsafe xmlTextReaderIsEmptyElement(reader) == 1
                open.append(
                    XMLElement(
                        name: XMLName(
                            namespace: unsafe text(xmlTextReaderConstNamespaceUri(reader)),
                            name: unsafe text(xmlTextReaderConstLocalName(reader))),
                        attributes: unsafe attributes(reader)))
                if isEmpty { close() }
            case XML_READER_TYPE_END_ELEMENT.rawValue: close()
            case XML_READER_TYPE_TEXT.rawValue, XML_READER_TYPE_CDATA.rawValue,
                XML_READER_TYPE_SIGNIFICANT_WHITESPACE.rawValue, XML_READER_TYPE_WHITESPACE.rawValue:
                if !open.isEmpty, let value = unsafe xmlTextReaderConstValue(reader) {
                    open[open.count - 1].octets += unsafe Array(
                        UnsafeBufferPointer(start: value, count: Int(xmlStrlen(value))))
                }
            case XML_READER_TYPE_DOCUMENT_TYPE.rawValue, XML_READER_TYPE_ENTITY_REFERENCE.rawValue,
                XML_READER_TYPE_ENTITY.rawValue:
                throw hostile("a document type or an entity")
            default: break
            }
            status = unsafe xmlTextReaderRead(reader)
        }
        guard status == 0, let root else { throw hostile("XML that is not well-formed, or cut") }
        return root
    }

    /// By their local names; a second one of a name in another namespace is passed over.
    private static func attributes(_ reader: xmlTextReaderPtr) -> [String: String] {
        guard unsafe xmlTextReaderMoveToFirstAttribute(reader) == 1 else { return [:] }
        defer { unsafe xmlTextReaderMoveToElement(reader) }
        var attributes: [String: String] = [:]
        repeat {
            // A declaration of a namespace is none.
            if unsafe xmlTextReaderIsNamespaceDecl(reader) == 1 { continue }
            let name = unsafe text(xmlTextReaderConstLocalName(reader))
            if attributes[name] == nil { attributes[name] = unsafe text(xmlTextReaderConstValue(reader)) }
        } while unsafe xmlTextReaderMoveToNextAttribute(reader) == 1
        return attributes
    }

    private static func text(_ pointer: UnsafePointer<xmlChar>?) -> String {
        guard let pointer = unsafe pointer else { return "" }
        return unsafe String(cString: pointer)
    }

    /// Before the parser sees an octet: what stands before the first element is a declaration, comments, instructions
    /// and space. Behind it no document type can come, only the word in somebody's text.
    private static func checkProlog(_ octets: [UInt8]) throws(CalendarError) {
        var rest = octets[...]
        if rest.starts(with: [0xEF, 0xBB, 0xBF]) { rest = rest.dropFirst(3) }
        while true {
            rest = rest.drop { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
            guard rest.first == UInt8(ascii: "<") else { throw hostile(rest.isEmpty ? "nothing" : "no XML in UTF-8") }
            if rest.starts(with: Array("<?".utf8)) {
                rest = try after("?>", in: rest)
            } else if rest.starts(with: Array("<!--".utf8)) {
                rest = try after("-->", in: rest.dropFirst(4))
            } else if rest.starts(with: Array("<!".utf8)) {
                throw hostile("a document type")
            } else {
                return
            }
        }
    }

    private static func after(_ mark: String, in rest: ArraySlice<UInt8>) throws(CalendarError) -> ArraySlice<UInt8> {
        guard let range = rest.firstRange(of: Array(mark.utf8)) else { throw hostile("XML that is cut") }
        return rest[range.upperBound...]
    }

    private static func hostile(_ found: String) -> CalendarError {
        .violation("the calendar server's answer can not be read", expected: "plain XML within bounds", found: found)
    }
}
