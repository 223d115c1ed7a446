import CXML
import Diagnostics

/// Reads SAML messages by libxml2's streaming reader, as if whoever sends them were hostile.
///
/// Refused, before anything is looked at: a document type (so every entity of its own), comments and processing
/// instructions (which some readers see as the end of a text), CDATA sections, an encoding other than UTF-8 (so that no
/// other parser can see another document in the same octets), text around the elements, and too much of anything.
/// Any thread. Nothing is fetched. No error has an octet of the message.
enum XMLReading {
    static let maximumBytes = 256 << 10
    static let deepest = 32
    static let mostElements = 5000
    static let mostAttributes = 32

    private static let isPrepared: Bool = {
        xmlInitParser()
        return true
    }()

    static func parse(_ octets: [UInt8]) throws(DiagnosedError) -> XMLElement {
        _ = isPrepared
        guard octets.count <= maximumBytes, let size = Int32(exactly: octets.count) else {
            throw refusal("more than \(maximumBytes) octets")
        }
        guard !octets.contains(0), String(validating: octets, as: UTF8.self) != nil else { throw refusal("no UTF-8") }
        try checkStart(octets)
        let result: Result<XMLElement, DiagnosedError> = unsafe octets.withUnsafeBytes { octets in
            let options = XML_PARSE_NONET.rawValue | XML_PARSE_NOERROR.rawValue | XML_PARSE_NOWARNING.rawValue
            guard
                let reader = unsafe xmlReaderForMemory(
                    octets.baseAddress?.assumingMemoryBound(to: CChar.self), size, nil, "UTF-8", Int32(options))
            else { return .failure(refusal("no reader for it")) }
            defer { unsafe xmlFreeTextReader(reader) }
            return Result { () throws(DiagnosedError) in try unsafe tree(reader) }
        }
        return try result.get()
    }

    private static func tree(_ reader: xmlTextReaderPtr) throws(DiagnosedError) -> XMLElement {
        var open: [XMLElement] = []
        var root: XMLElement?
        var count = 0
        func close() {
            guard let done = open.popLast() else { return }
            if open.isEmpty { root = done } else { open[open.count - 1].children.append(.element(done)) }
        }
        var status = unsafe xmlTextReaderRead(reader)
        while status == 1 {
            switch UInt32(bitPattern: unsafe xmlTextReaderNodeType(reader)) {
            case XML_READER_TYPE_ELEMENT.rawValue:
                count += 1
                guard count <= mostElements else { throw refusal("more than \(mostElements) elements") }
                guard open.count < deepest else { throw refusal("elements more than \(deepest) deep") }
                // Before the attributes, which move the reader.
                let isEmpty = unsafe xmlTextReaderIsEmptyElement(reader) == 1
                var element = unsafe XMLElement(
                    XMLName(text(xmlTextReaderConstNamespaceUri(reader)), text(xmlTextReaderConstLocalName(reader))))
                element.attributes = try unsafe attributes(reader)
                open.append(element)
                if isEmpty { close() }
            case XML_READER_TYPE_END_ELEMENT.rawValue: close()
            case XML_READER_TYPE_TEXT.rawValue, XML_READER_TYPE_SIGNIFICANT_WHITESPACE.rawValue,
                XML_READER_TYPE_WHITESPACE.rawValue:
                guard !open.isEmpty else { break }
                let part = unsafe text(xmlTextReaderConstValue(reader))
                if case .text(let before)? = open[open.count - 1].children.last {
                    open[open.count - 1].children.removeLast()
                    open[open.count - 1].children.append(.text(before + part))
                } else {
                    open[open.count - 1].children.append(.text(part))
                }
            case XML_READER_TYPE_COMMENT.rawValue: throw refusal("a comment")
            case XML_READER_TYPE_PROCESSING_INSTRUCTION.rawValue: throw refusal("a processing instruction")
            case XML_READER_TYPE_CDATA.rawValue: throw refusal("a CDATA section")
            default: throw refusal("a document type or an entity")
            }
            status = unsafe xmlTextReaderRead(reader)
        }
        guard status == 0, let root else { throw refusal("XML that is not well-formed, or cut") }
        return root
    }

    /// Without declarations of namespaces.
    private static func attributes(_ reader: xmlTextReaderPtr) throws(DiagnosedError) -> [XMLName: String] {
        var found: [XMLName: String] = [:]
        var count = 0
        while unsafe xmlTextReaderMoveToNextAttribute(reader) == 1 {
            count += 1
            guard count <= mostAttributes else { throw refusal("more than \(mostAttributes) attributes") }
            if unsafe xmlTextReaderIsNamespaceDecl(reader) == 1 { continue }
            let name = unsafe XMLName(
                text(xmlTextReaderConstNamespaceUri(reader)), text(xmlTextReaderConstLocalName(reader)))
            found[name] = unsafe text(xmlTextReaderConstValue(reader))
        }
        unsafe xmlTextReaderMoveToElement(reader)
        return found
    }

    private static func text(_ pointer: UnsafePointer<xmlChar>?) -> String {
        guard let pointer = unsafe pointer else { return "" }
        return unsafe String(cString: pointer)
    }

    /// An XML declaration that names no encoding but UTF-8, or none, and then an element: before any parser sees an octet.
    private static func checkStart(_ octets: [UInt8]) throws(DiagnosedError) {
        var rest = octets[...]
        if rest.starts(with: [0xEF, 0xBB, 0xBF]) { rest = rest.dropFirst(3) }
        if rest.starts(with: Array("<?xml".utf8)) {
            guard let end = rest.prefix(200).firstRange(of: Array("?>".utf8)) else { throw refusal("XML that is cut") }
            let declaration = String(decoding: rest[..<end.lowerBound], as: UTF8.self).lowercased()
            if declaration.contains("encoding"),
                !declaration.contains("\"utf-8\""), !declaration.contains("'utf-8'")
            {
                throw refusal("an encoding other than UTF-8")
            }
            rest = rest[end.upperBound...]
        }
        rest = rest.drop { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
        guard rest.first == UInt8(ascii: "<"), let second = rest.dropFirst().first,
            second | 0x20 >= 0x61 && second | 0x20 <= 0x7A || second == UInt8(ascii: "_")
        else { throw refusal("something before the element, such as a document type or a comment") }
    }

    private static func refusal(_ found: String) -> DiagnosedError {
        .saml(
            .samlMalformed, "the SAML message can not be read", expected: "plain XML within bounds", found: found)
    }
}
