import CalendarXML

typealias DAVName = XMLName
typealias DAVElement = XMLElement
typealias DAVParser = XMLParser

extension XMLName {
    static func dav(_ name: String) -> XMLName { XMLName(namespace: "DAV:", name: name) }
    static func caldav(_ name: String) -> XMLName { XMLName(namespace: "urn:ietf:params:xml:ns:caldav", name: name) }
    static func server(_ name: String) -> XMLName { XMLName(namespace: "http://calendarserver.org/ns/", name: name) }

    /// With the prefix that requests declare.
    var qualified: String {
        switch namespace {
        case "DAV:": "D:\(name)"
        case "http://calendarserver.org/ns/": "S:\(name)"
        default: "C:\(name)"
        }
    }
}

extension XMLElement {
    var nameAttribute: String? { attributes["name"] }

    /// Texts of the `href` elements in it.
    var hrefs: [String] { all(.dav("href")).map(\.text).filter { !$0.isEmpty } }
}

/// Writes XML for requests.
enum DAVText {
    static func escaped(_ text: String) -> String { XMLText.escaped(text) }

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
