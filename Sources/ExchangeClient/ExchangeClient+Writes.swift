package import CalendarBackend
import CalendarTime
import CalendarTransport
import CalendarTranslation
import CalendarXML
import WireText

extension ExchangeClient {
    package func put(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference, _ condition: WriteCondition
    ) async throws -> WriteOutcome {
        switch condition {
        case .create: return try await create(octets, at: href, in: calendar)
        case .match(let etag):
            guard etag.isStrong else { throw CalendarError.weakETag }
            let text = try EventSeries(parsing: octets)
            guard let id = id(of: href, in: calendar),
                let base = try await readings([id], calendar.user).first ?? nil, base.etag == etag
            else { return .conflict }
            return try await write(text, over: base, in: calendar)
        }
    }

    package func delete(
        _ href: CalendarHref, in calendar: CalendarReference, ifMatch etag: ETag
    ) async throws -> RemovalOutcome {
        guard etag.isStrong else { throw CalendarError.weakETag }
        guard let id = id(of: href, in: calendar), let base = try await readings([id], calendar.user).first ?? nil
        else {
            return .absent
        }
        guard base.etag == etag else { return .conflict }
        return try await remove(id, key: base.key, calendar.user) ? .deleted : .absent
    }

    private func remove(_ id: String, key: String?, _ user: CalendarUser) async throws -> Bool {
        let version = key.map { " ChangeKey=\"\(XMLText.escaped($0))\"" } ?? ""
        let message = try await one(
            "<m:DeleteItem DeleteType=\"MoveToDeletedItems\" SendMeetingCancellations=\"\(cancellations)\"><m:ItemIds>"
                + "<t:ItemId Id=\"\(XMLText.escaped(id))\"\(version)/></m:ItemIds></m:DeleteItem>", for: user)
        if message.isAbsent { return false }
        guard message.isSuccess else { throw message.failure("the event") }
        return true
    }

    /// `SendToChanged` is no word for those who are told of an end or of a beginning.
    private var cancellations: String { settings.sendUpdates == "SendToNone" ? "SendToNone" : "SendToAllAndSaveCopy" }

    // MARK: - New objects

    private func create(
        _ octets: [UInt8], at href: CalendarHref, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let text = try EventSeries(parsing: octets)
        guard text.place == nil else { throw CalendarError.objectRefused("an occurrence without its series") }
        let folder = try folderID(of: calendar)
        // The name may be that of an item that Exchange named.
        if let id = id(of: href, in: calendar), !id.hasPrefix("new-"),
            try await items([id], calendar.user).first ?? nil != nil
        {
            return .conflict
        }
        if let other = try await item(withUID: text.uid, in: calendar) {
            return .uidInUse(self.href(of: other, in: calendar))
        }
        var fields = Set(EventFields.Field.allCases).subtracting([.removedDates, .status])
        if text.main.rules.isEmpty { fields.remove(.rules) }
        if text.main.rest.isEmpty { fields.remove(.rest) }
        var parts = try ExchangeItem.parts(text.main, fields, raw: nil, zones: zones)
        parts.append(
            ExchangeItem.Part(order: 20, uri: "", element: "<t:UID>\(XMLText.escaped(text.uid))</t:UID>"))
        let content = parts.sorted { $0.order < $1.order }.compactMap(\.element).joined()
        let message = try await one(
            "<m:CreateItem SendMeetingInvitations=\"\(cancellations)\"><m:SavedItemFolderId>"
                + "<t:FolderId Id=\"\(XMLText.escaped(folder))\"/></m:SavedItemFolderId><m:Items><t:CalendarItem>\(content)"
                + "</t:CalendarItem></m:Items></m:CreateItem>", for: calendar.user)
        guard message.isSuccess else { throw Self.refusal(message, "the calendar") }
        guard let id = message.element.child("Items")?.children.first.flatMap(Self.identity)?.id else {
            throw CalendarError.violation("a new event has no name", expected: "an ItemId")
        }
        let outcome = WriteOutcome.created(self.href(of: id, in: calendar))
        guard !text.exceptions.isEmpty || !text.main.removedDates.isEmpty else { return outcome }
        guard let base = try await readings([id], calendar.user).first ?? nil else { return .conflict }
        let rest = try await writeParts(of: text, over: base, in: calendar)
        return rest == .written ? outcome : rest
    }

    /// By the id that Exchange makes of a UID.
    private func item(withUID uid: String, in calendar: CalendarReference) async throws -> String? {
        let restriction =
            "<m:Restriction><t:IsEqualTo><t:ExtendedFieldURI PropertySetId=\"6ed8da90-450b-101b-98da-00aa003f1305\" "
            + "PropertyId=\"35\" PropertyType=\"Binary\"/><t:FieldURIOrConstant><t:Constant Value=\""
            + GlobalObjectID.clean(uid: uid) + "\"/></t:FieldURIOrConstant></t:IsEqualTo></m:Restriction>"
        let root = try await find(
            "", "<m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape>", restriction: restriction, in: calendar)
        return root.child("Items")?.children.lazy.compactMap { Self.identity(of: $0)?.id }.first
    }

    // MARK: - Changes

    /// Sends what differs from what was read: the item's fields first, then the occurrences'.
    private func write(
        _ text: EventSeries, over base: Reading, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let read = try EventSeries(parsing: base.series.octets)
        var changed = text.main.differences(from: read.main)
        changed.remove(.removedDates)
        if changed.contains(.rules), text.main.start == read.main.start,
            let new = text.main.rules.first, let old = read.main.rules.first, text.main.rules.count == 1,
            try RulePattern(rule: new, start: text.main.start, zones: zones)
                == RulePattern(rule: old, start: read.main.start, zones: zones)
        {
            changed.remove(.rules)
        }
        if let reply = ownAnswer(text.main, read.main, base.raw, calendar.user) {
            let message = try await one(
                "<m:CreateItem MessageDisposition=\"SendAndSaveCopy\"><m:Items><t:\(reply)><t:ReferenceItemId Id=\""
                    + "\(XMLText.escaped(base.id))\" ChangeKey=\"\(XMLText.escaped(base.key))\"/></t:\(reply)></m:Items>"
                    + "</m:CreateItem>", for: calendar.user)
            if Self.isConflict(message) { return .conflict }
            guard message.isSuccess else { throw message.failure("the event") }
            // The item has another version by now: what else is to be written is written over that.
            return changed.isEmpty ? .written : .conflict
        }
        if !changed.isEmpty {
            let parts = try ExchangeItem.parts(text.main, changed, raw: base.raw, zones: zones)
            let outcome = try await update(base.id, base.key, parts, calendar.user)
            guard outcome == .written else { return outcome }
        }
        return try await writeParts(of: text, over: base, in: calendar)
    }

    private func ownAnswer(
        _ new: EventFields, _ old: EventFields, _ item: XMLElement, _ user: CalendarUser
    ) -> String? {
        guard !["Organizer", "Unknown", nil].contains(item.child("MyResponseType")?.text),
            let answer = new.answer(of: user.address), answer != old.answer(of: user.address)
        else { return nil }
        return switch answer {
        case .accepted: "AcceptItem"
        case .declined: "DeclineItem"
        case .tentative: "TentativelyAcceptItem"
        case .none: nil
        }
    }

    private func update(
        _ id: String, _ key: String, _ parts: [ExchangeItem.Part], _ user: CalendarUser
    ) async throws -> WriteOutcome {
        guard !parts.isEmpty else { return .written }
        let updates = parts.map { part in
            guard let element = part.element else { return "<t:DeleteItemField>\(part.uri)</t:DeleteItemField>" }
            let tag = part.appends ? "AppendToItemField" : "SetItemField"
            return "<t:\(tag)>\(part.uri)<t:CalendarItem>\(element)</t:CalendarItem></t:\(tag)>"
        }.joined()
        let message = try await one(
            "<m:UpdateItem ConflictResolution=\"NeverOverwrite\" "
                + "SendMeetingInvitationsOrCancellations=\"\(settings.sendUpdates)\"><m:ItemChanges><t:ItemChange>"
                + "<t:ItemId Id=\"\(XMLText.escaped(id))\" ChangeKey=\"\(XMLText.escaped(key))\"/><t:Updates>\(updates)"
                + "</t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>", for: user)
        if Self.isConflict(message) { return .conflict }
        guard message.isSuccess else { throw Self.refusal(message, "the event") }
        return .written
    }

    private static func isConflict(_ message: SOAP.Message) -> Bool {
        message.isAbsent
            || [
                "ErrorIrresolvableConflict", "ErrorStaleObject", "ErrorChangeKeyRequiredForWriteOperations",
                "ErrorInvalidChangeKey",
            ].contains(message.code)
    }

    /// Of a write: what the server does not take as it is.
    private static func refusal(_ message: SOAP.Message, _ what: String) -> CalendarError {
        let isObject =
            message.code.hasPrefix("ErrorCalendar") || message.code.hasPrefix("ErrorInvalidProperty")
            || message.code.hasPrefix("ErrorRecurrence")
            || [
                "ErrorInvalidTimeZone", "ErrorSchemaValidation", "ErrorIncorrectUpdatePropertyCount",
                "ErrorPropertyUpdate",
            ]
            .contains(message.code)
        return isObject ? .objectRefused(message.code) : message.failure(what)
    }

    // MARK: - Occurrences

    private func writeParts(
        of text: EventSeries, over base: Reading, in calendar: CalendarReference
    ) async throws -> WriteOutcome {
        let read = try EventSeries(parsing: base.series.octets)
        var before: [Int: EventFields] = [:]
        for (moment, fields) in read.exceptions { before[try EventSeries.place(moment, zones: zones)] = fields }
        var places: Set<Int> = []
        for (moment, fields) in text.exceptions.sorted(by: { $0.key.local < $1.key.local }) {
            let place = try EventSeries.place(moment, zones: zones)
            places.insert(place)
            var old = try read.occurrence(at: moment, zones: zones)
            // An occurrence has no lines of ours before it is an exception.
            old.rest = []
            if let known = before[place] { old = known }
            var changed = fields.differences(from: old)
            changed.subtract([.rules, .addedDates, .removedDates])
            guard !changed.isEmpty else { continue }
            guard let now = try await occurrence(at: moment, base, in: calendar),
                let (id, key) = Self.identity(of: now), let key
            else { return .conflict }
            // Whatever a write to the series did to its version: it has to say what was read.
            if let known = base.exceptions[place] {
                guard
                    try ExchangeItem.fields(of: now, zones: zones).differences(
                        from: ExchangeItem.fields(of: known, zones: zones)
                    ).isEmpty
                else { return .conflict }
            }
            let parts = try ExchangeItem.parts(fields, changed, raw: now, zones: zones)
            let outcome = try await update(id, key, parts, calendar.user)
            guard outcome == .written else { return outcome }
        }
        let cancelled = Set(try read.main.removedDates.map { moment in try EventSeries.place(moment, zones: zones) })
        var wanted: Set<Int> = []
        for moment in text.main.removedDates {
            let place = try EventSeries.place(moment, zones: zones)
            guard wanted.insert(place).inserted, !cancelled.contains(place),
                let now = try await occurrence(at: moment, base, in: calendar), let (id, key) = Self.identity(of: now)
            else { continue }
            _ = try await remove(id, key: key, calendar.user)
        }
        guard cancelled.isSubset(of: wanted) else {
            throw CalendarError.objectRefused("a cancelled occurrence that is to come back, which Exchange can not")
        }
        guard Set(before.keys).isSubset(of: places.union(wanted)) else {
            throw CalendarError.objectRefused("an exception that is to be none again, which Exchange can not")
        }
        return .written
    }

    /// The occurrence that would have started then, as it is now; nil: the series has none.
    private func occurrence(
        at moment: CalendarMoment, _ base: Reading, in calendar: CalendarReference
    ) async throws -> XMLElement? {
        let place = try EventSeries.place(moment, zones: zones)
        if let known = base.exceptions[place].flatMap(Self.identity) {
            return try await items([known.id], calendar.user).first ?? nil
        }
        let day = Int64(86_400)
        guard
            let time = CalendarInterval(
                from: Timestamp(seconds: Int64(place) - day), until: Timestamp(seconds: Int64(place) + 2 * day))
        else { return nil }
        for item in try await view(time, in: calendar) where item.child("UID")?.text == base.series.uid {
            let start = item.child("OriginalStart") ?? item.child("Start")
            guard let stamp = start.flatMap({ Timestamp(iso8601: $0.text) }), let (id, _) = Self.identity(of: item)
            else {
                continue
            }
            let distance = abs(Int(stamp.seconds) - place)
            guard moment.isDate ? distance <= 14 * 3600 : distance == 0 else { continue }
            return try await items([id], calendar.user).first ?? nil
        }
        return nil
    }
}
