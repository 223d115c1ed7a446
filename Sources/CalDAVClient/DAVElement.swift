/// A name of XML with its namespace.
struct DAVName: Hashable, Sendable, CustomStringConvertible {
    let namespace: String
    let name: String

    static func dav(_ name: String) -> DAVName { DAVName(namespace: "DAV:", name: name) }
    static func caldav(_ name: String) -> DAVName { DAVName(namespace: "urn:ietf:params:xml:ns:caldav", name: name) }
    static func server(_ name: String) -> DAVName { DAVName(namespace: "http://calendarserver.org/ns/", name: name) }

    /// With the prefix that requests declare.
    var qualified: String {
        switch namespace {
        case "DAV:": "D:\(name)"
        case "http://calendarserver.org/ns/": "S:\(name)"
        default: "C:\(name)"
        }
    }

    var description: String { name }
}

/// One element of an answer, with all below it.
struct DAVElement: Sendable, Equatable {
    var name: DAVName
    /// The attribute `name`, the only one that is needed.
    var nameAttribute: String?
    var children: [DAVElement] = []
    /// All characters that stand directly in it.
    var octets: [UInt8] = []

    subscript(name: DAVName) -> DAVElement? { children.first { $0.name == name } }
    func all(_ name: DAVName) -> [DAVElement] { children.filter { $0.name == name } }

    /// Without spaces and line ends around it.
    var text: String {
        let isSpace = { (octet: UInt8) in [0x20, 0x09, 0x0A, 0x0D].contains(octet) }
        let trimmed = octets.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
        return String(decoding: Array(trimmed), as: UTF8.self)
    }

    /// Texts of the `href` elements in it.
    var hrefs: [String] { all(.dav("href")).map(\.text).filter { !$0.isEmpty } }
}

/// Writes XML for requests.
enum DAVText {
    static func escaped(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            // XML has no place for other control characters.
            case "\u{0}"..."\u{8}", "\u{B}", "\u{C}", "\u{E}"..."\u{1F}": result += "\u{FFFD}"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }

    static func document(_ root: DAVName, _ content: String) -> [UInt8] {
        let spaces =
            "xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\" xmlns:S=\"http://calendarserver.org/ns/\""
        let declaration = "<?xml version=\"1.0\" encoding=\"utf-8\"?>"
        return Array("\(declaration)<\(root.qualified) \(spaces)>\(content)</\(root.qualified)>".utf8)
    }

    static func properties(_ names: [DAVName]) -> String {
        "<D:prop>" + names.map { "<\($0.qualified)/>" }.joined() + "</D:prop>"
    }

    static func hrefs(_ hrefs: [String]) -> String {
        hrefs.map { "<D:href>\(escaped($0))</D:href>" }.joined()
    }
}
