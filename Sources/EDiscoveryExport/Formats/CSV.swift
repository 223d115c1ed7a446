/// Rows of RFC 4180: every cell quoted, CR LF behind each.
///
/// A cell that a spreadsheet would take for a formula gets an apostrophe before it. Control characters other than tab and
/// line ends become U+FFFD: readers differ in what they make of them.
enum CSV {
    /// Spreadsheets take a table for UTF-8 only with one.
    static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    static func row(_ cells: [String]) -> [UInt8] {
        var row: [UInt8] = []
        for (index, cell) in cells.enumerated() {
            if index > 0 { row.append(UInt8(ascii: ",")) }
            append(cell, to: &row)
        }
        row += [0x0D, 0x0A]
        return row
    }

    private static func append(_ cell: String, to row: inout [UInt8]) {
        row.append(UInt8(ascii: "\""))
        switch cell.utf8.first {
        case UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "@"), 0x09, 0x0A, 0x0D:
            row.append(UInt8(ascii: "'"))
        default: break
        }
        for octet in cell.utf8 {
            switch octet {
            case UInt8(ascii: "\""): row += [octet, octet]
            case 0x09, 0x0A, 0x0D, 0x20..<0x7F, 0x80...: row.append(octet)
            default: row += [0xEF, 0xBF, 0xBD]
            }
        }
        row.append(UInt8(ascii: "\""))
    }
}
