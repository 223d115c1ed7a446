package import CalendarBackend
import CalendarTransport
import CalendarXML
import HTTPClient
import Synchronization

// Notices of changes: streaming subscriptions (GetStreamingEvents). A connection stays open for at most half an hour and
// carries at most 200 subscriptions; a notice says that a folder changed and not how.
extension ExchangeClient {
    /// Minutes of one connection; 30 is the most that Exchange takes.
    static let streamMinutes = 30
    /// A server that ends streams earlier is left alone for a while.
    private static let shortest = Duration.seconds(60)
    private static let mostOfStream = 256 << 20

    package func watch(
        _ accounts: [CalendarAccount], began: @escaping @Sendable ([String]) -> Void,
        changed: @escaping @Sendable (String) -> Void
    ) async throws {
        var users: [String: CalendarUser] = [:]
        for account in accounts.prefix(mostWatched) {
            do {
                users[try await subscribe(account)] = account.user
            } catch let error as CalendarError where !error.isTransient && error.reason != .credentialsRefused {
                // One mailbox that is refused is looked at in rounds; the others are told of.
                continue
            }
        }
        let known = users
        guard let anchor = known.values.min(by: { $0.id < $1.id }) else {
            throw CalendarError.notFound("a mailbox that may be subscribed to")
        }
        // One connection: whom it is for is judged anew before the next.
        let start = ContinuousClock.now
        try await listen(known, anchor, began: { began(known.values.map(\.id)) }, changed)
        guard ContinuousClock.now - start > Self.shortest else {
            throw CalendarError.serverAway("a stream of notices that ends at once")
        }
    }

    private func subscribe(_ account: CalendarAccount) async throws -> String {
        var folders = ""
        for calendar in account.calendars.prefix(100) where calendar.holdsEvents {
            folders += "<t:FolderId Id=\"\(XMLText.escaped(try folderID(of: calendar.reference)))\"/>"
        }
        let types = ["Created", "Deleted", "Modified", "Moved", "Copied"]
        let body =
            "<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds>\(folders)</t:FolderIds><t:EventTypes>"
            + types.map { "<t:EventType>\($0)Event</t:EventType>" }.joined()
            + "</t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>"
        let message = try await one(body, for: account.user)
        guard message.isSuccess else { throw message.failure("the user's mailbox") }
        guard let id = message.element.child("SubscriptionId")?.text, !id.isEmpty, id.utf8.count <= 2048 else {
            throw CalendarError.violation(
                "the calendar server's answer can not be read", expected: "a SubscriptionId")
        }
        return id
    }

    /// Returns when the server ends the connection in its time.
    private func listen(
        _ users: [String: CalendarUser], _ anchor: CalendarUser, began: @escaping @Sendable () -> Void,
        _ changed: @escaping @Sendable (String) -> Void
    ) async throws {
        let ids = users.keys.sorted().map { "<t:SubscriptionId>\(XMLText.escaped($0))</t:SubscriptionId>" }.joined()
        let body =
            "<m:GetStreamingEvents><m:SubscriptionIds>\(ids)</m:SubscriptionIds><m:ConnectionTimeout>"
            + "\(Self.streamMinutes)</m:ConnectionTimeout></m:GetStreamingEvents>"
        let stream = Mutex((splitter: EnvelopeSplitter(), hasBegun: false, isClosed: false))
        let response = try await web.stream(
            CalendarWeb.Request(
                "POST", settings.path,
                headers: [
                    ("Content-Type", "text/xml; charset=utf-8"), ("Accept", "text/xml"),
                    ("X-AnchorMailbox", anchor.address), ("X-PreferServerAffinity", "true"),
                ], body: SOAP.envelope(body, impersonating: settings.impersonates ? anchor.address : nil),
                limit: Self.mostOfStream), for: anchor, upTo: .seconds(60 * (Self.streamMinutes + 5))
        ) { octets in
            let (envelopes, isFirst) = try stream.withLock { stream in
                let envelopes = try stream.splitter.take(octets)
                let isFirst = !stream.hasBegun && !envelopes.isEmpty
                if isFirst { stream.hasBegun = true }
                return (envelopes, isFirst)
            }
            for (place, envelope) in envelopes.enumerated() {
                let (told, isClosed) = try Self.notices(envelope)
                if isClosed { stream.withLock { $0.isClosed = true } }
                if isFirst, place == 0 { began() }
                for id in Set(told) { if let user = users[id] { changed(user.id) } }
            }
        }
        guard (200..<300).contains(response.status) else {
            _ = try SOAP.messages(response)
            throw CalendarError.serverAway("status \(response.status)")
        }
        guard stream.withLock({ $0.hasBegun && $0.isClosed }) else {
            throw CalendarError.serverAway("a stream of notices that breaks off")
        }
    }

    /// The subscriptions of which an envelope tells, and whether it ends the connection in its time.
    private static func notices(_ envelope: [UInt8]) throws(CalendarError) -> ([String], isClosed: Bool) {
        var told: [String] = []
        var isClosed = false
        for message in try SOAP.messages(WebResponse(status: 200, body: envelope)) {
            // A subscription that ended ends them all: they are made anew.
            guard message.isSuccess else { throw message.failure("the subscription") }
            if message.element.child("ConnectionStatus")?.text == "Closed" { isClosed = true }
            for notice in message.element.child("Notifications")?.children ?? [] {
                if let id = notice.child("SubscriptionId")?.text { told.append(id) }
            }
        }
        return (told, isClosed)
    }
}

/// Takes a stream of SOAP envelopes apart, one behind the other.
struct EnvelopeSplitter: Sendable {
    static let mostOctets = 4 << 20
    private var buffer: [UInt8] = []
    /// Where to look on.
    private var seen = 0

    /// The envelopes that are whole by now.
    mutating func take(_ octets: [UInt8]) throws(CalendarError) -> [[UInt8]] {
        buffer += octets
        var found: [[UInt8]] = []
        while let end = end() {
            found.append(Array(buffer[..<end]))
            buffer.removeSubrange(..<end)
            seen = 0
        }
        if buffer.allSatisfy({ [0x20, 0x09, 0x0A, 0x0D].contains($0) }) { (buffer, seen) = ([], 0) }
        guard buffer.count <= Self.mostOctets else {
            throw .violation(
                "a notice of the calendar server is too long", expected: "at most \(Self.mostOctets) octets")
        }
        return found
    }

    /// Behind the end tag of the next envelope, whatever its prefix is.
    private mutating func end() -> Int? {
        let word = Array("Envelope".utf8)
        while let close = buffer[seen...].firstIndex(of: UInt8(ascii: ">")) {
            var last = close
            while last > 0, [0x20, 0x09, 0x0A, 0x0D].contains(buffer[last - 1]) { last -= 1 }
            seen = close + 1
            guard last >= word.count, Array(buffer[(last - word.count)..<last]) == word else { continue }
            let tag = buffer[..<(last - word.count)].lastIndex(of: UInt8(ascii: "<"))
            if let tag, tag + 1 < buffer.count, buffer[tag + 1] == UInt8(ascii: "/"), last - tag <= 64 {
                return close + 1
            }
        }
        seen = max(seen, buffer.count)
        return nil
    }
}
