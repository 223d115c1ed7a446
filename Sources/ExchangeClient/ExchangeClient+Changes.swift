package import CalendarBackend
import CalendarTransport
import CalendarXML
import WireText

extension ExchangeClient {
    private static let idOnly = "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>"

    package func changes(in calendar: CalendarReference, since token: SyncToken?) async throws -> SyncOutcome {
        let folder = try folderID(of: calendar)
        var states: [String: CalendarMember?] = [:]
        var order: [String] = []
        var state = token?.text
        for _ in 0..<settings.mostPages {
            let known = state.map { "<m:SyncState>\(XMLText.escaped($0))</m:SyncState>" } ?? ""
            let message = try await one(
                "<m:SyncFolderItems>\(Self.idOnly)<m:SyncFolderId><t:FolderId Id=\"\(XMLText.escaped(folder))\"/>"
                    + "</m:SyncFolderId>\(known)<m:MaxChangesReturned>512</m:MaxChangesReturned>"
                    + "<m:SyncScope>NormalItems</m:SyncScope></m:SyncFolderItems>", for: calendar.user)
            if token != nil, ["ErrorInvalidSyncStateData", "ErrorSyncStateNotFound"].contains(message.code) {
                return .fullResyncNeeded(.tokenRefused)
            }
            guard message.isSuccess else { throw message.failure("the calendar") }
            for change in message.element.child("Changes")?.children ?? [] {
                guard let (id, key) = Self.item(in: change) else { continue }
                if states.updateValue(nil, forKey: id) == nil { order.append(id) }
                if change.name.name != "Delete" {
                    states[id] = .some(CalendarMember(href: href(of: id, in: calendar), etag: key.map(Self.etag)))
                }
            }
            guard let next = message.element.child("SyncState")?.text, !next.isEmpty else {
                return .fullResyncNeeded(.answerCut)
            }
            let isLast = message.element.child("IncludesLastItemInRange")?.text == "true"
            guard isLast || next != state else { return .fullResyncNeeded(.answerCut) }
            state = next
            guard isLast else { continue }
            var changes = CalendarChanges(token: SyncToken(next))
            for id in order {
                if let member = states[id] ?? nil {
                    changes.changed.append(member)
                } else {
                    changes.removed.append(href(of: id, in: calendar))
                }
            }
            return .changes(changes)
        }
        return .fullResyncNeeded(.answerCut)
    }

    /// By a FindItem without a view, which tells series and not their occurrences.
    package func members(of calendar: CalendarReference) async throws -> [CalendarMember] {
        var members: [CalendarMember] = []
        var seen: Set<String> = []
        var offset = 0
        for _ in 0..<settings.mostPages {
            let page =
                "<m:IndexedPageItemView MaxEntriesReturned=\"500\" Offset=\"\(offset)\" BasePoint=\"Beginning\"/>"
            let root = try await find(page, Self.idOnly, in: calendar)
            for item in root.child("Items")?.children ?? [] where item.name.name == "CalendarItem" {
                guard let (id, key) = Self.identity(of: item), seen.insert(id).inserted else { continue }
                members.append(CalendarMember(href: href(of: id, in: calendar), etag: key.map(Self.etag)))
            }
            if root.attributes["IncludesLastItemInRange"] == "true" { return members }
            guard let next = root.attributes["IndexedPagingOffset"].flatMap({ Int($0) }), next > offset else { break }
            offset = next
        }
        throw CalendarError.violation("a list does not end", expected: "at most \(settings.mostPages) pages")
    }

    package func objects(
        in calendar: CalendarReference, during time: CalendarInterval, expanded: Bool
    ) async throws -> [CalendarObject] {
        guard !expanded else { throw CalendarError.unsupported("expansion of series") }
        var hrefs: [CalendarHref] = []
        var seen: Set<String> = []
        for item in try await view(time, in: calendar) {
            guard let (id, _) = Self.identity(of: item) else { continue }
            // Of a series the first occurrence is asked for its master.
            let uid = item.child("UID")?.text ?? id
            guard seen.insert(uid).inserted else { continue }
            let isPart = ["Occurrence", "Exception"].contains(item.child("CalendarItemType")?.text)
            guard let name = isPart ? try await master(of: id, calendar.user) : id else { continue }
            hrefs.append(href(of: name, in: calendar))
        }
        return try await objects(hrefs, in: calendar).found
    }

    // MARK: - Helpers

    /// All that is in a time, occurrences each; asked for in halves where the server has more than it tells at once.
    func view(_ time: CalendarInterval, in calendar: CalendarReference) async throws -> [XMLElement] {
        let shape =
            "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:FieldURI FieldURI=\"calendar:UID\"/>"
            + "<t:FieldURI FieldURI=\"calendar:CalendarItemType\"/><t:FieldURI FieldURI=\"calendar:Start\"/>"
            + "<t:FieldURI FieldURI=\"calendar:OriginalStart\"/></t:AdditionalProperties></m:ItemShape>"
        let page =
            "<m:CalendarView MaxEntriesReturned=\"1000\" StartDate=\"\(time.start.iso8601)\" "
            + "EndDate=\"\(time.end.iso8601)\"/>"
        let root = try await find(page, shape, in: calendar)
        let items = root.child("Items")?.children.filter { $0.name.name == "CalendarItem" } ?? []
        if root.attributes["IncludesLastItemInRange"] == "true" { return items }
        let middle = time.start.adding(milliseconds: (time.end.milliseconds - time.start.milliseconds) / 2)
        guard let first = CalendarInterval(from: time.start, until: middle),
            let second = CalendarInterval(from: middle, until: time.end),
            time.end.milliseconds - time.start.milliseconds > 60_000
        else { throw CalendarError.violation("a minute holds too many events", expected: "at most 1000") }
        return try await view(first, in: calendar) + view(second, in: calendar)
    }

    func find(_ view: String, _ shape: String, restriction: String = "", in calendar: CalendarReference) async throws
        -> XMLElement
    {
        let folder = try folderID(of: calendar)
        let message = try await one(
            "<m:FindItem Traversal=\"Shallow\">\(shape)\(view)\(restriction)<m:ParentFolderIds>"
                + "<t:FolderId Id=\"\(XMLText.escaped(folder))\"/></m:ParentFolderIds></m:FindItem>", for: calendar.user
        )
        guard message.isSuccess, let root = message.element.child("RootFolder") else {
            throw message.failure("the calendar")
        }
        return root
    }

    private func master(of occurrence: String, _ user: CalendarUser) async throws -> String? {
        let message = try await one(
            "<m:GetItem>\(Self.idOnly)<m:ItemIds><t:RecurringMasterItemId OccurrenceId=\"\(XMLText.escaped(occurrence))\"/>"
                + "</m:ItemIds></m:GetItem>", for: user)
        if message.isAbsent { return nil }
        guard message.isSuccess else { throw message.failure("the series") }
        return message.element.child("Items")?.children.first.flatMap(Self.identity)?.id
    }

    /// Of a change: a calendar item's, or what was deleted.
    private static func item(in change: XMLElement) -> (id: String, key: String?)? {
        switch change.name.name {
        case "Delete": return identity(of: change)
        case "Create", "Update": return change.child("CalendarItem").flatMap(identity)
        default: return nil
        }
    }

    static func identity(of item: XMLElement) -> (id: String, key: String?)? {
        guard let id = item.child("ItemId"), let text = id.attributes["Id"], !text.isEmpty else { return nil }
        return (text, id.attributes["ChangeKey"])
    }

    static func etag(_ key: String) -> ETag { ETag("\"\(key)\"") }
}
