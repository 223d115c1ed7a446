import CalendarBackend
import CalendarTransport
import CalendarXML
import HTTPClient

/// Envelopes of Exchange Web Services, and what is in their answers.
enum SOAP {
    static let types = "http://schemas.microsoft.com/exchange/services/2006/types"
    static let messages = "http://schemas.microsoft.com/exchange/services/2006/messages"
    private static let envelope = "http://schemas.xmlsoap.org/soap/envelope/"

    /// One response message of an operation.
    struct Message {
        let element: XMLElement
        /// `NoError`, or what went wrong.
        let code: String

        var isSuccess: Bool { code == "NoError" }

        /// What was asked for is not there, or never was.
        var isAbsent: Bool {
            ["ErrorItemNotFound", "ErrorInvalidIdMalformed", "ErrorInvalidId", "ErrorInvalidIdEmpty"].contains(code)
        }

        func failure(_ what: String) -> CalendarError { SOAP.failure(code, what) }
    }

    static func envelope(_ body: String, impersonating address: String?) -> [UInt8] {
        let user =
            address.map {
                "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>\(XMLText.escaped($0))"
                    + "</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation>"
            } ?? ""
        return Array(
            ("<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"\(envelope)\" xmlns:t=\"\(types)\" "
                + "xmlns:m=\"\(messages)\"><s:Header><t:RequestServerVersion Version=\"Exchange2013_SP1\"/>\(user)"
                + "</s:Header><s:Body>\(body)</s:Body></s:Envelope>").utf8)
    }

    /// - Throws: what a fault or a status means.
    static func messages(_ response: WebResponse) throws(CalendarError) -> [Message] {
        guard response.status == 200 || response.status == 500 else {
            switch response.status {
            case 403: throw .forbidden("status 403")
            case 404: throw .violation("no Exchange server answers at this URL", expected: "EWS", found: "status 404")
            case 500...: throw .serverAway("status \(response.status)")
            default:
                throw .violation(
                    "the calendar server refuses the request", expected: "an answer", found: "status \(response.status)"
                )
            }
        }
        guard let body = try body(response.body) else {
            throw .violation("the calendar server's answer can not be read", expected: "a SOAP body")
        }
        if let fault = fault(body) { throw failure(fault, "the mailbox") }
        // An operation's answer holds messages; that of a few is a message itself.
        let answer = body.children.first
        let list = answer?.child("ResponseMessages")?.children ?? answer.map { [$0] } ?? []
        return list.map { element in
            let inner = element.child("ResponseMessage") ?? element
            return Message(element: element, code: String((inner.child("ResponseCode")?.text ?? "").prefix(80)))
        }
    }

    /// Whether an answer wants fewer requests: `ErrorServerBusy` as a fault or in a message.
    static func push(_ response: WebResponse) -> CalendarWeb.Push {
        // Most answers are not read twice.
        guard response.status == 500 || response.status == 200,
            response.body.firstRange(of: Array("ErrorServerBusy".utf8)) != nil,
            let body = try? body(response.body)
        else { return .none }
        let isFault = fault(body) == "ErrorServerBusy"
        let messages = body.children.first?.child("ResponseMessages")?.children ?? body.children
        let inner = messages.first {
            ($0.child("ResponseMessage") ?? $0).child("ResponseCode")?.text == "ErrorServerBusy"
        }
        guard isFault || inner != nil else { return .none }
        let holder = isFault ? body.children.first?.children.first { $0.name.name == "detail" } : inner
        let values = holder?.child("MessageXml")?.children ?? []
        let pause = values.first { $0.attributes["Name"] == "BackOffMilliseconds" }.flatMap { Int($0.text) }
        return .back(pause.map { .milliseconds(max(0, min($0, 86_400_000))) })
    }

    private static func body(_ octets: [UInt8]) throws(CalendarError) -> XMLElement? {
        let root = try XMLParser.parse(octets)
        guard root.name == XMLName(namespace: envelope, name: "Envelope") else { return nil }
        return root[XMLName(namespace: envelope, name: "Body")]
    }

    /// The response code of a fault; nil: the body is none.
    private static func fault(_ body: XMLElement) -> String? {
        guard let fault = body[XMLName(namespace: envelope, name: "Fault")] else { return nil }
        let detail = fault.children.first { $0.name.name == "detail" }
        if let code = detail?.children.first(where: { $0.name.name == "ResponseCode" })?.text { return code }
        let code = fault.children.first { $0.name.name == "faultcode" }?.text ?? "fault"
        return String(code.split(separator: ":").last ?? "fault")
    }

    static func failure(_ code: String, _ what: String) -> CalendarError {
        let found = String(code.prefix(80))
        switch code {
        case "ErrorAccessDenied", "ErrorImpersonateUserDenied", "ErrorImpersonationDenied", "ErrorImpersonationFailed":
            return .forbidden(found)
        case "ErrorItemNotFound", "ErrorFolderNotFound", "ErrorSyncFolderNotFound", "ErrorParentFolderNotFound",
            "ErrorNonExistentMailbox", "ErrorInvalidIdMalformed", "ErrorInvalidId", "ErrorInvalidIdEmpty",
            "ErrorInvalidFolderId", "ErrorParentFolderIdRequired":
            return .notFound(what)
        case "ErrorQuotaExceeded", "ErrorMessageSizeExceeded": return .quotaExceeded
        case "ErrorTokenSerializationDenied", "ErrorAuthenticationFailed", "ErrorInvalidToken":
            return .credentialsRefused(found)
        case "ErrorServerBusy": return .rateLimited(nil, found)
        case "ErrorMailboxStoreUnavailable", "ErrorInternalServerError", "ErrorInternalServerTransientError",
            "ErrorTimeoutExpired", "ErrorConnectionFailed", "ErrorMailboxMoveInProgress", "ErrorADUnavailable",
            "ErrorTooManyObjectsOpened", "ErrorExceededConnectionCount", "ErrorBatchProcessingStopped":
            return .serverAway(found)
        default:
            return .violation("the calendar server refuses the request", expected: "an answer", found: found)
        }
    }
}

extension XMLElement {
    /// The first child of a name in one of the two namespaces of EWS.
    func child(_ name: String) -> XMLElement? {
        children.first {
            $0.name.name == name && ($0.name.namespace == SOAP.types || $0.name.namespace == SOAP.messages)
        }
    }

    func descend(_ names: String...) -> XMLElement? {
        var element: XMLElement? = self
        for name in names { element = element?.child(name) }
        return element
    }
}
