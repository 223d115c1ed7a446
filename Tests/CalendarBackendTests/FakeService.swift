import CalendarTranslation
import CalendarTransport
import HTTPClient
import Synchronization
import WireText

/// A request to a fake service, with its path and query taken apart.
struct ServiceRequest {
    let method: String
    /// Decoded segments.
    let path: [String]
    let query: [String: String]
    let header: (String) -> String?
    let body: JSONValue
    /// As it came.
    let target: String
    let octets: [UInt8]

    init(_ request: CalendarProxy.Request) {
        method = request.method
        target = request.path
        octets = request.body
        let parts = request.path.split(separator: "?", maxSplits: 1)
        path = (parts.first ?? "").split(separator: "/").map { URLText.decoded($0) ?? "" }
        var query: [String: String] = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1)
            let name = URLText.decoded(sides[0]) ?? ""
            query[name] = sides.count > 1 ? URLText.decoded(sides[1].replacing("+", with: " ")) ?? "" : ""
        }
        self.query = query
        header = { request.header($0) }
        body = (try? JSONValue(parsing: request.body)) ?? [:]
    }
}

/// Interruptions that any fake service can be told to make.
struct ServiceFaults {
    /// Answers in the place of the next requests.
    var next: [WebResponse] = []
    /// Of the next requests with these methods or in these words the work is done and the answer lost.
    var lost: [String] = []

    /// Whether the answer to this request is to be lost.
    mutating func loses(_ request: CalendarProxy.Request) -> Bool {
        guard let word = lost.first, request.method == word || request.text.contains("<m:\(word) ") else {
            return false
        }
        lost.removeFirst()
        return true
    }
}

extension WebResponse {
    static func json(_ status: Int, _ value: JSONValue, _ headers: [(String, String)] = []) -> WebResponse {
        WebResponse(
            status: status, headers: [("Content-Type", "application/json; charset=utf-8")] + headers, body: value.octets
        )
    }
}

extension JSONValue {
    /// This with the members of another put over its own.
    func merged(_ other: JSONValue) -> JSONValue {
        var result = members
        for (name, value) in other.members { result[name] = value }
        return .object(result)
    }
}
