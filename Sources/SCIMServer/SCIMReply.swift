import HTTPTypes
import WireText

/// An answer of the SCIM server, before it becomes one of the web server.
package struct SCIMReply: Sendable {
    package var status: Int
    package var body: [UInt8]
    package var etag: String?
    package var location: String?

    init(_ status: Int, _ body: [UInt8] = [], etag: String? = nil, location: String? = nil) {
        (self.status, self.body, self.etag, self.location) = (status, body, etag, location)
    }
}

/// A refusal (RFC 7644, section 3.12).
package struct SCIMError: Error, Equatable {
    package enum Kind: String, Sendable {
        case invalidFilter, uniqueness, mutability, invalidSyntax, invalidPath, noTarget, invalidValue, tooMany
    }

    package let status: Int
    package let kind: Kind?
    package let detail: String

    init(_ status: Int, _ kind: Kind? = nil, _ detail: String) {
        (self.status, self.kind, self.detail) = (status, kind, detail)
    }

    static func invalid(_ kind: Kind, _ detail: String) -> SCIMError { SCIMError(400, kind, detail) }

    var reply: SCIMReply {
        var json = JSONWriter()
        json.beginObject()
        json.member("schemas", ["urn:ietf:params:scim:api:messages:2.0:Error"])
        json.member("status", String(status))
        json.member("scimType", ifPresent: kind?.rawValue)
        json.member("detail", detail)
        json.endObject()
        return SCIMReply(status, json.bytes())
    }
}

/// What a request says.
package struct SCIMRequest: Sendable {
    package var method: String
    /// Below `/scim/v2`, split at slashes, percent-decoded.
    package var path: [String]
    package var query: [String: String]
    package var body: [UInt8]
    package var ifMatch: String?
    package var ifNoneMatch: String?

    package init(
        method: String, path: [String], query: [String: String] = [:], body: [UInt8] = [], ifMatch: String? = nil,
        ifNoneMatch: String? = nil
    ) {
        (self.method, self.path, self.query, self.body) = (method, path, query, body)
        (self.ifMatch, self.ifNoneMatch) = (ifMatch, ifNoneMatch)
    }
}
