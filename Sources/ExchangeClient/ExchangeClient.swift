package import CalendarBackend
package import CalendarTime
package import CalendarTransport
import CalendarXML
package import HTTPClient
import WireText

/// How one Exchange server is reached.
package struct ExchangeSettings: Sendable {
    /// `https://mail.example.com`; for tests `http://127.0.0.1:port`.
    package var origin: String
    package var path = "/EWS/Exchange.asmx"
    /// One account acts for all (`ExchangeImpersonation`); without, each user has credentials.
    package var impersonates = true
    /// `Bearer`, or `Basic` with `GivenTokens.basic`.
    package var scheme = "Bearer"
    package var limits = HostGate.Limits()
    package var timeout = Duration.seconds(100)
    /// Whom a write tells: `SendToAllAndSaveCopy`, `SendToChangedAndSaveCopy` or `SendToNone`.
    package var sendUpdates = "SendToAllAndSaveCopy"
    package var mostPages = 1000
    /// Items that are read at once.
    package var batch = 20

    package init(origin: String) { self.origin = origin }
}

/// Calendars of Exchange 2013 and later through Exchange Web Services as a calendar backend.
///
/// Any thread. An object is a calendar item, or a series with its exceptions; it is read by its properties and not by its
/// MimeContent, for an exported meeting does not tell the attendees' answers (`ExchangeItem` translates). Documented
/// behaviour that shapes it (learn.microsoft.com/exchange/client-developer):
///
/// * SyncFolderItems gives at most 512 changes and says by `IncludesLastItemInRange` whether there are more; a state that
///   is none is `ErrorInvalidSyncStateData`. It tells series, not their occurrences: a change of an occurrence is one of
///   its series, with another change key.
/// * UpdateItem with `ConflictResolution="NeverOverwrite"` and the change key that was read fails with
///   `ErrorIrresolvableConflict` when the item has changed. DeleteItem takes no such condition: the change key is compared
///   just before, and what changes in between is deleted with it.
/// * A server that wants fewer requests answers 500 with `ErrorServerBusy` and, often, `BackOffMilliseconds`.
/// * `ExchangeImpersonation` names the user for whom the connector's account acts.
package final class ExchangeClient: CalendarBackend {
    package let abilities: Set<CalendarAbility> = [.freeBusy, .availability, .notifications]
    let settings: ExchangeSettings
    let web: CalendarWeb
    let zones: ZoneCatalogue

    /// - Parameters:
    ///   - client: with the trust, the pins and the proxy of this server; it is closed with this.
    ///   - streams: for notices, each of which takes a connection for half an hour; it is closed with this.
    ///   - clock: of pauses.
    /// - Throws: `configuration`.
    package init(
        _ settings: ExchangeSettings, client: WebClient, streams: WebClient? = nil, tokens: any BearerTokens,
        zones: ZoneCatalogue = .system,
        clock: any Clock<Duration> = ContinuousClock()
    ) throws(CalendarError) {
        guard ["SendToAllAndSaveCopy", "SendToChangedAndSaveCopy", "SendToNone"].contains(settings.sendUpdates) else {
            throw .configuration(
                "sendUpdates can not be used", expected: "SendToAllAndSaveCopy, SendToChangedAndSaveCopy or SendToNone")
        }
        self.settings = settings
        self.zones = zones
        web = try CalendarWeb(
            origin: settings.origin, limits: settings.limits, timeout: settings.timeout, client: client,
            streams: streams,
            clock: clock, tokens: tokens, scheme: settings.scheme, push: SOAP.push)
    }

    package func close() async { await web.close() }

    /// A proposal, for `put` answers with the name that Exchange chose.
    package func newHref(in calendar: CalendarReference) -> CalendarHref {
        href(of: "new-" + UUIDText.random(), in: calendar)
    }

    /// All folders of appointments below the mailbox's root.
    package func discover(_ user: CalendarUser) async throws -> CalendarAccount {
        let body =
            "<m:FindFolder Traversal=\"Deep\"><m:FolderShape><t:BaseShape>Default</t:BaseShape><t:AdditionalProperties>"
            + "<t:FieldURI FieldURI=\"folder:EffectiveRights\"/><t:FieldURI FieldURI=\"folder:FolderClass\"/>"
            + "</t:AdditionalProperties></m:FolderShape><m:Restriction><t:IsEqualTo>"
            + "<t:FieldURI FieldURI=\"folder:FolderClass\"/><t:FieldURIOrConstant><t:Constant Value=\"IPF.Appointment\"/>"
            + "</t:FieldURIOrConstant></t:IsEqualTo></m:Restriction><m:ParentFolderIds>"
            + "<t:DistinguishedFolderId Id=\"msgfolderroot\"/></m:ParentFolderIds></m:FindFolder>"
        let message = try await one(body, for: user)
        guard message.isSuccess else { throw message.failure("the user's mailbox") }
        var calendars: [CalendarInformation] = []
        for folder in message.element.descend("RootFolder", "Folders")?.children ?? [] {
            guard let id = folder.child("FolderId")?.attributes["Id"], !id.isEmpty else { continue }
            let rights = folder.child("EffectiveRights")
            func may(_ name: String) -> Bool { rights?.child(name)?.text == "true" }
            var told: CalendarRights = []
            if may("Read") { told.formUnion([.read, .freeBusy]) }
            if may("Modify") { told.insert(.write) }
            if may("CreateContents") { told.insert(.add) }
            if may("Delete") || may("Modify") { told.insert(.remove) }
            let path = "/users/\(URLText.encoded(user.address))/folders/\(URLText.encoded(id))/"
            calendars.append(
                CalendarInformation(
                    reference: CalendarReference(user: user, href: CalendarHref(path)),
                    name: folder.child("DisplayName")?.text, components: ["VEVENT"],
                    ctag: folder.child("FolderId")?.attributes["ChangeKey"], rights: rights == nil ? .all : told))
        }
        return CalendarAccount(
            user: user, principal: CalendarHref("/users/\(URLText.encoded(user.address))/"), calendars: calendars,
            addresses: ["mailto:" + user.address])
    }

    // MARK: - Names

    private func folder(_ calendar: CalendarReference) -> String {
        calendar.href.text.hasSuffix("/") ? calendar.href.text : calendar.href.text + "/"
    }

    func href(of id: String, in calendar: CalendarReference) -> CalendarHref {
        CalendarHref(folder(calendar) + URLText.encoded(id) + ".ics")
    }

    /// Nil: no item has that name.
    func id(of href: CalendarHref, in calendar: CalendarReference) -> String? {
        guard let slash = href.text.lastIndex(of: "/"),
            CalendarHref(String(href.text[...slash])) == CalendarHref(folder(calendar)),
            let name = URLText.decoded(href.text[href.text.index(after: slash)...]), name.hasSuffix(".ics"),
            (5...2048).contains(name.utf8.count)
        else { return nil }
        return String(name.dropLast(4))
    }

    func folderID(of calendar: CalendarReference) throws(CalendarError) -> String {
        let names = folder(calendar).split(separator: "/")
        guard names.count == 4, names[2] == "folders", let id = URLText.decoded(names[3]), !id.isEmpty else {
            throw .notFound("the calendar")
        }
        return id
    }

    // MARK: - Requests

    /// The response messages of one operation.
    func messages(_ body: String, for user: CalendarUser) async throws -> [SOAP.Message] {
        let response = try await web.send(
            CalendarWeb.Request(
                "POST", settings.path,
                headers: [
                    ("Content-Type", "text/xml; charset=utf-8"), ("Accept", "text/xml"),
                    ("X-AnchorMailbox", URLText.encoded(user.address).replacing("%40", with: "@")),
                ], body: SOAP.envelope(body, impersonating: settings.impersonates ? user.address : nil)), for: user)
        return try SOAP.messages(response)
    }

    func one(_ body: String, for user: CalendarUser) async throws -> SOAP.Message {
        let messages = try await messages(body, for: user)
        guard messages.count == 1, let message = messages.first else {
            throw CalendarError.violation(
                "the calendar server's answer can not be read", expected: "one response message",
                found: String(messages.count))
        }
        return message
    }
}
