package import HTTPTypes

/// An answer of one of the endpoints, before it becomes one of the web server.
package struct Reply: Sendable {
    package var status: HTTPResponse.Status
    package var headers: HTTPFields
    package var body: [UInt8]

    package init(status: HTTPResponse.Status, headers: HTTPFields, body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// JSON that must not be kept by anybody (RFC 6749, section 5.1).
    static func secretJSON(_ status: HTTPResponse.Status, _ body: [UInt8]) -> Reply {
        var headers: HTTPFields = [.contentType: "application/json", .cacheControl: "no-store"]
        headers[.pragma] = "no-cache"
        return Reply(status: status, headers: headers, body: body)
    }

    /// A public document that caches may keep for some minutes.
    static func document(_ body: [UInt8]) -> Reply {
        Reply(
            status: .ok, headers: [.contentType: "application/json", .cacheControl: "public, max-age=300"], body: body)
    }

    static func page(_ status: HTTPResponse.Status, _ html: String, formTarget: RedirectURI? = nil) -> Reply {
        Reply(status: status, headers: Pages.headers(formTarget: formTarget), body: Array(html.utf8))
    }

    /// 303, so that the browser asks for the new address with GET and never sends the form there (RFC 9700, section 4.12).
    static func redirect(_ location: String) -> Reply {
        var headers: HTTPFields = [.location: location, .cacheControl: "no-store"]
        headers[.pragma] = "no-cache"
        headers[.referrerPolicy] = "no-referrer"
        return Reply(status: .seeOther, headers: headers)
    }

    /// RFC 6749, section 5.2.
    static func error(_ error: OAuthError) -> Reply {
        var reply = secretJSON(HTTPResponse.Status(code: error.status), Documents.error(error))
        if error.code == .invalidClient {
            reply.headers[.wwwAuthenticate] = "Basic realm=\"hds-auth\", charset=\"UTF-8\""
        }
        if let seconds = error.retryAfter { reply.headers[.retryAfter] = String(seconds) }
        return reply
    }
}

/// What a request says beside its parameters.
package struct Visitor: Sendable {
    /// The network address of the other end, without port.
    package var address: String
    package var authorization: String?
    package var cookie: String?
    package var contentType: String?
    /// `Sec-Fetch-Site`: from where the browser says the request comes.
    package var fetchSite: String?

    package init(
        address: String, authorization: String? = nil, cookie: String? = nil, contentType: String? = nil,
        fetchSite: String? = nil
    ) {
        self.address = address
        self.authorization = authorization
        self.cookie = cookie
        self.contentType = contentType
        self.fetchSite = fetchSite
    }

    var sendsForm: Bool {
        let type = contentType?.prefix { $0 != ";" }.filter { $0 != " " }.lowercased()
        return type == "application/x-www-form-urlencoded"
    }
}
