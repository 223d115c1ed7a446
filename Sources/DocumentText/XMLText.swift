import CXML

/// The text of one XML part of an office document, by libxml2's streaming reader. Entities of the document's own are not
/// expanded, and nothing is fetched.
enum XMLText {
    /// Whose text counts: in Office Open XML that of `t` elements (`w:t`, `a:t`, …), in OpenDocument all of it.
    enum Flavour { case officeOpen, openDocument }

    private static let ends: Set<String> = ["p", "h", "si", "is", "br", "line-break", "tr", "row", "table-row", "cr"]
    private static let spaces: Set<String> = ["tab", "s", "table-cell", "tc"]

    /// False: it is not well-formed; what stood before the fault is in the text.
    static func read(_ octets: [UInt8], _ flavour: Flavour, into text: inout TextBuffer) -> Bool {
        hds_prepare_xml()
        guard let size = Int32(exactly: octets.count) else { return false }
        return unsafe octets.withUnsafeBytes { octets in
            let options = XML_PARSE_NONET.rawValue | XML_PARSE_NOERROR.rawValue | XML_PARSE_NOWARNING.rawValue
            guard
                let reader = unsafe xmlReaderForMemory(
                    octets.baseAddress?.assumingMemoryBound(to: CChar.self), size, nil, nil, Int32(options))
            else { return false }
            defer { unsafe xmlFreeTextReader(reader) }
            var wanted = flavour == .openDocument
            var status = unsafe xmlTextReaderRead(reader)
            while status == 1, !text.isFull {
                switch UInt32(bitPattern: unsafe xmlTextReaderNodeType(reader)) {
                case XML_READER_TYPE_ELEMENT.rawValue:
                    let name = unsafe localName(reader)
                    let isEmpty = unsafe xmlTextReaderIsEmptyElement(reader) == 1
                    if flavour == .officeOpen { wanted = name == "t" && !isEmpty }
                    if spaces.contains(name) { text.space() }
                    if isEmpty, ends.contains(name) { text.line() }
                case XML_READER_TYPE_END_ELEMENT.rawValue:
                    if flavour == .officeOpen { wanted = false }
                    if unsafe ends.contains(localName(reader)) { text.line() }
                case XML_READER_TYPE_TEXT.rawValue, XML_READER_TYPE_CDATA.rawValue,
                    XML_READER_TYPE_SIGNIFICANT_WHITESPACE.rawValue:
                    if wanted, let value = unsafe xmlTextReaderConstValue(reader) {
                        unsafe text.append(Array(UnsafeBufferPointer(start: value, count: Int(xmlStrlen(value)))))
                    }
                default: break
                }
                status = unsafe xmlTextReaderRead(reader)
            }
            return status == 0 && hds_xml_was_short_of_memory() == 0 || text.isFull
        }
    }

    private static func localName(_ reader: xmlTextReaderPtr) -> String {
        guard let name = unsafe xmlTextReaderConstLocalName(reader) else { return "" }
        return unsafe String(cString: name)
    }
}
