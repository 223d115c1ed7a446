/// What a file is, by its first octets: names and declared types are a stranger's word.
package enum DocumentKind: Sendable, Equatable {
    case text, html, pdf, office
    /// Nothing that can be read here.
    case unknown

    package init(_ octets: [UInt8]) {
        let head = octets.prefix(1024)
        if head.starts(with: [0x50, 0x4B, 0x03, 0x04]) {
            self = .office
        } else if Self.holds(head, "%PDF-") {
            self = .pdf
        } else if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) {
            self = .text
        } else if head.starts(with: "{\\rtf".utf8) || octets.contains(0) {
            self = .unknown
        } else if Self.isHTML(head) {
            self = .html
        } else {
            self = Self.isReadable(octets.prefix(65_536)) ? .text : .unknown
        }
    }

    private static func isHTML(_ head: ArraySlice<UInt8>) -> Bool {
        let lower = head.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        let start = lower.drop { $0 <= 0x20 || $0 == 0xEF || $0 == 0xBB || $0 == 0xBF }
        return start.starts(with: "<!doctype html".utf8) || start.starts(with: "<html".utf8)
            || (start.starts(with: "<?xml".utf8) && holds(lower[...], "<html"))
    }

    private static func holds(_ octets: ArraySlice<UInt8>, _ word: String) -> Bool {
        let word = Array(word.utf8)
        guard octets.count >= word.count else { return false }
        return (octets.startIndex...(octets.endIndex - word.count)).contains { octets[$0...].starts(with: word) }
    }

    /// At most one octet in a hundred is a control character that texts do not have.
    private static func isReadable(_ octets: ArraySlice<UInt8>) -> Bool {
        let odd = octets.count { $0 < 0x20 && ![0x09, 0x0A, 0x0C, 0x0D, 0x1B].contains($0) || $0 == 0x7F }
        return odd * 100 <= octets.count
    }
}
