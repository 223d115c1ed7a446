import CalendarTime
import CalendarTranslation
import CalendarXML
import HTTPClient
import Synchronization
import WireText

/// A small Exchange on a real socket: one calendar folder, with what the published documentation says of change keys,
/// sync states, series and occurrences, impersonation, busy servers and errors.
///
/// Series of days and weeks only.
final class FakeExchange: Sendable {
    struct Item {
        var id: String
        var key = ""
        /// Properties by their names.
        var parts: [String: XMLElement] = [:]
        var lines: String?
        /// Exceptions and deleted occurrences of a series, by the date of each.
        var exceptions: [String: [String: XMLElement]] = [:]
        var exceptionLines: [String: String] = [:]
        var deleted: Set<String> = []

        func text(_ name: String) -> String { parts[name].map { String(decoding: $0.octets, as: UTF8.self) } ?? "" }
    }

    struct State {
        var items: [String: Item] = [:]
        var log: [String] = []
        var forgotten = 0
        var lastNumber = 0
        var faults = ServiceFaults()
        var pageSize = 7
        /// The names of what each UpdateItem set, appended to or deleted.
        var updates: [[String]] = []
        var replies: [String] = []
        var oof = "<t:OofState>Disabled</t:OofState>"
        /// Folders of each subscription, and the connections on which notices go out.
        var subscriptions: [String: [String]] = [:]
        var streams: [(ids: [String], pieces: AsyncStream<String>.Continuation)] = []
        /// Whom the connector acts for.
        var impersonated: Set<String> = []
    }

    let state = Mutex(State())
    let proxy: CalendarProxy
    static let folder = "AAMkFolder+/="
    private static let types = "http://schemas.microsoft.com/exchange/services/2006/types"
    private static let messages = "http://schemas.microsoft.com/exchange/services/2006/messages"

    init() async throws {
        proxy = try await CalendarProxy()
        // It lives as long as its port does: to the end of the tests.
        proxy.play { request in
            if request.text.contains("<m:GetStreamingEvents>"), let pieces = self.stream(request) {
                return .stream(pieces)
            }
            let isLost = self.state.withLock { $0.faults.loses(request) }
            let answer = self.answer(request)
            return isLost ? .raw("") : .answer(answer)
        }
    }

    var origin: String { proxy.url }
    func change<R: Sendable>(_ body: (inout State) -> sending R) -> R { state.withLock { body(&$0) } }

    // MARK: - Envelopes

    static func envelope(_ status: Int, _ body: String) -> WebResponse {
        WebResponse(
            status: status, headers: [("Content-Type", "text/xml; charset=utf-8")],
            body: Array(
                ("<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">"
                    + "<s:Body xmlns:t=\"\(types)\" xmlns:m=\"\(messages)\">\(body)</s:Body></s:Envelope>").utf8))
    }

    static func fault(_ code: String, backOff: Int? = nil) -> WebResponse {
        let value =
            backOff.map { "<t:MessageXml><t:Value Name=\"BackOffMilliseconds\">\($0)</t:Value></t:MessageXml>" } ?? ""
        return envelope(
            500,
            "<s:Fault><faultcode xmlns:a=\"\(types)\">a:\(code)</faultcode><faultstring xml:lang=\"en-US\">x</faultstring>"
                + "<detail><e:ResponseCode xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">\(code)"
                + "</e:ResponseCode>\(value)</detail></s:Fault>")
    }

    static func response(_ operation: String, _ messages: [String]) -> WebResponse {
        envelope(
            200,
            "<m:\(operation)Response><m:ResponseMessages>\(messages.joined())</m:ResponseMessages></m:\(operation)Response>"
        )
    }

    static func message(_ operation: String, _ code: String = "NoError", _ content: String = "") -> String {
        "<m:\(operation)ResponseMessage ResponseClass=\"\(code == "NoError" ? "Success" : "Error")\"><m:ResponseCode>\(code)"
            + "</m:ResponseCode>\(content)</m:\(operation)ResponseMessage>"
    }

    private func answer(_ request: CalendarProxy.Request) -> WebResponse {
        state.withLock { state in
            guard request.header("Authorization") == "Basic " + Base64.encode(Array("alice:alicepw".utf8)) else {
                return WebResponse(status: 401)
            }
            if !state.faults.next.isEmpty { return state.faults.next.removeFirst() }
            guard request.path == "/EWS/Exchange.asmx", let root = try? XMLParser.parse(request.body),
                let body = root.children.first(where: { $0.name.name == "Body" })?.children.first
            else { return Self.fault("ErrorSchemaValidation") }
            let header = root.children.first { $0.name.name == "Header" }
            let address = Self.find("PrimarySmtpAddress", in: header)?.text ?? ""
            guard address == "alice@example.com" else { return Self.fault("ErrorNonExistentMailbox") }
            state.impersonated.insert(address)
            switch body.name.name {
            case "FindFolder": return folders()
            case "Subscribe": return subscribe(body, &state)
            case "SyncFolderItems": return sync(body, state)
            case "FindItem": return findItems(body, state)
            case "GetItem": return get(body, state)
            case "CreateItem": return create(body, &state)
            case "UpdateItem": return update(body, &state)
            case "DeleteItem": return delete(body, &state)
            case "GetUserAvailabilityRequest": return availability(body, state)
            case "GetUserOofSettingsRequest":
                return Self.envelope(
                    200,
                    "<m:GetUserOofSettingsResponse><m:ResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError"
                        + "</m:ResponseCode></m:ResponseMessage><t:OofSettings>\(state.oof)</t:OofSettings>"
                        + "</m:GetUserOofSettingsResponse>")
            default: return Self.fault("ErrorInvalidRequest")
            }
        }
    }

    // MARK: - Notices

    private func subscribe(_ body: XMLElement, _ state: inout State) -> WebResponse {
        let folders = Self.find("FolderIds", in: body)?.children.compactMap { $0.attributes["Id"] } ?? []
        guard folders.allSatisfy({ $0 == Self.folder }), !folders.isEmpty,
            Self.find("StreamingSubscriptionRequest", in: body) != nil,
            Self.find("EventTypes", in: body)?.children.contains(where: { $0.text == "ModifiedEvent" }) == true
        else { return Self.response("Subscribe", [Self.message("Subscribe", "ErrorFolderNotFound")]) }
        let id = "sub+\(state.subscriptions.count)="
        state.subscriptions[id] = folders
        return Self.response(
            "Subscribe", [Self.message("Subscribe", "NoError", "<m:SubscriptionId>\(id)</m:SubscriptionId>")])
    }

    /// Nil: an error is answered.
    private func stream(_ request: CalendarProxy.Request) -> AsyncStream<String>? {
        guard let root = try? XMLParser.parse(request.body), let minutes = Self.find("ConnectionTimeout", in: root),
            (1...30).contains(Int(minutes.text) ?? 0)
        else { return nil }
        let ids = Self.find("SubscriptionIds", in: root)?.children.map(\.text) ?? []
        return state.withLock { state in
            let (pieces, sink) = AsyncStream.makeStream(of: String.self)
            guard state.faults.next.isEmpty, (1...200).contains(ids.count) else { return nil }
            state.streams.append((ids, sink))
            let unknown = ids.contains { state.subscriptions[$0] == nil }
            sink.yield(
                Self.notice(
                    unknown ? "ErrorSubscriptionNotFound" : "NoError", "<m:ConnectionStatus>OK</m:ConnectionStatus>"))
            return pieces
        }
    }

    static func notice(_ code: String, _ content: String) -> String {
        String(
            decoding: response("GetStreamingEvents", [message("GetStreamingEvents", code, content)]).body, as: UTF8.self
        )
    }

    /// Something changed in the folder of a subscription; the octets come in pieces of that size.
    func notify(_ id: String, pieces: Int = 7) {
        let text = Self.notice(
            "NoError",
            "<m:Notifications><m:Notification><t:SubscriptionId>\(id)</t:SubscriptionId><t:MoreEvents>false</t:MoreEvents>"
                + "<t:ModifiedEvent><t:TimeStamp>2027-01-01T00:00:00Z</t:TimeStamp><t:ItemId Id=\"x\" ChangeKey=\"y\"/>"
                + "</t:ModifiedEvent></m:Notification></m:Notifications>")
        state.withLock { state in
            for stream in state.streams where stream.ids.contains(id) {
                var rest = Substring(text)
                while !rest.isEmpty {
                    stream.pieces.yield(String(rest.prefix(pieces)))
                    rest = rest.dropFirst(pieces)
                }
            }
        }
    }

    /// Ends all connections, in time or not.
    func endStreams(saying code: String = "NoError", closes: Bool = true) {
        state.withLock { state in
            for stream in state.streams {
                if closes {
                    stream.pieces.yield(Self.notice(code, "<m:ConnectionStatus>Closed</m:ConnectionStatus>"))
                }
                stream.pieces.finish()
            }
            state.streams = []
        }
    }

    static func find(_ name: String, in element: XMLElement?) -> XMLElement? {
        guard let element else { return nil }
        if element.name.name == name { return element }
        return element.children.lazy.compactMap { find(name, in: $0) }.first
    }

    static func xml(_ element: XMLElement) -> String {
        let attributes = element.attributes.sorted { $0.key < $1.key }.map {
            " \($0.key)=\"\(XMLText.escaped($0.value))\""
        }
        let content =
            XMLText.escaped(String(decoding: element.octets, as: UTF8.self)) + element.children.map(xml).joined()
        return "<t:\(element.name.name)\(attributes.joined())>\(content)</t:\(element.name.name)>"
    }

    static func element(_ name: String, _ text: String = "", _ children: [XMLElement] = []) -> XMLElement {
        XMLElement(
            name: XMLName(namespace: types, name: name), children: children, octets: Array(text.utf8))
    }

    // MARK: - Lists

    private func folders() -> WebResponse {
        let rights = ["CreateContents", "Delete", "Modify", "Read"].map { "<t:\($0)>true</t:\($0)>" }.joined()
        let folder =
            "<t:CalendarFolder><t:FolderId Id=\"\(Self.folder)\" ChangeKey=\"fk\"/><t:FolderClass>IPF.Appointment"
            + "</t:FolderClass><t:DisplayName>Calendar</t:DisplayName><t:EffectiveRights>\(rights)</t:EffectiveRights>"
            + "</t:CalendarFolder>"
        return Self.response(
            "FindFolder",
            [
                Self.message(
                    "FindFolder", "NoError",
                    "<m:RootFolder TotalItemsInView=\"1\" IncludesLastItemInRange=\"true\"><t:Folders>\(folder)</t:Folders>"
                        + "</m:RootFolder>")
            ])
    }

    private func isFolder(_ body: XMLElement) -> Bool {
        Self.find("FolderId", in: body)?.attributes["Id"] == Self.folder
    }

    private func sync(_ body: XMLElement, _ state: State) -> WebResponse {
        func answer(_ code: String, _ content: String = "") -> WebResponse {
            Self.response("SyncFolderItems", [Self.message("SyncFolderItems", code, content)])
        }
        guard isFolder(body) else { return answer("ErrorSyncFolderNotFound") }
        let token = Self.find("SyncState", in: body)?.text
        var start = 0
        var ids: [String]
        if let token {
            let parts = (Base64.decode(token).map { String(decoding: $0, as: UTF8.self) } ?? "").split(separator: ":")
                .compactMap { Int($0) }
            guard parts.count == 3, parts[0] >= state.forgotten, parts[0] <= state.log.count else {
                return answer("ErrorInvalidSyncStateData")
            }
            // The first state of a full sync counts from nothing.
            ids = parts[1] == 1 ? state.items.keys.sorted() : Set(state.log[parts[0]...]).sorted()
            start = parts[2]
        } else {
            ids = state.items.keys.sorted()
        }
        let isFull = token == nil || start > 0
        let stop = min(ids.count, start + state.pageSize)
        let changes = ids[min(start, stop)..<stop].map { id in
            guard let item = state.items[id] else {
                return "<t:Delete><t:ItemId Id=\"\(id)\" ChangeKey=\"x\"/></t:Delete>"
            }
            return
                "<t:\(isFull ? "Create" : "Update")><t:CalendarItem><t:ItemId Id=\"\(id)\" ChangeKey=\"\(item.key)\"/>"
                + "</t:CalendarItem></t:\(isFull ? "Create" : "Update")>"
        }.joined()
        let isLast = stop == ids.count
        let text = isLast ? "\(state.log.count):0:0" : "\(state.log.count):\(token == nil || start > 0 ? 1 : 0):\(stop)"
        return answer(
            "NoError",
            "<m:SyncState>\(Base64.encode(Array(text.utf8)))</m:SyncState><m:IncludesLastItemInRange>\(isLast)"
                + "</m:IncludesLastItemInRange><m:Changes>\(changes)</m:Changes>")
    }

    private func findItems(_ body: XMLElement, _ state: State) -> WebResponse {
        func answer(_ code: String, _ content: String = "") -> WebResponse {
            Self.response("FindItem", [Self.message("FindItem", code, content)])
        }
        guard isFolder(body) else { return answer("ErrorFolderNotFound") }
        var items: [String] = []
        var attributes = "IncludesLastItemInRange=\"true\""
        let all = state.items.values.sorted { $0.id < $1.id }
        if let view = Self.find("CalendarView", in: body) {
            guard let start = view.attributes["StartDate"].flatMap({ Timestamp(iso8601: $0) }),
                let end = view.attributes["EndDate"].flatMap({ Timestamp(iso8601: $0) })
            else { return answer("ErrorCalendarInvalidRecurrence") }
            for item in all {
                for found in Self.occurrences(of: item, Int(start.seconds)..<Int(end.seconds)) {
                    items.append(Self.shown(found, ["UID", "CalendarItemType", "Start", "OriginalStart"]))
                }
            }
        } else if let wanted = Self.find("Constant", in: body)?.attributes["Value"] {
            // By the id that is made of the UID.
            items = all.filter { item in
                let data = Base64.decode(wanted) ?? []
                return data.suffix(item.text("UID").utf8.count + 1).dropLast().elementsEqual(item.text("UID").utf8)
            }.map { Self.shown($0, []) }
        } else {
            let offset = Self.find("IndexedPageItemView", in: body)?.attributes["Offset"].flatMap { Int($0) } ?? 0
            let stop = min(all.count, offset + state.pageSize)
            items = all[min(offset, stop)..<stop].map { Self.shown($0, []) }
            attributes = "IndexedPagingOffset=\"\(stop)\" IncludesLastItemInRange=\"\(stop == all.count)\""
        }
        return answer("NoError", "<m:RootFolder \(attributes)><t:Items>\(items.joined())</t:Items></m:RootFolder>")
    }

    private func get(_ body: XMLElement, _ state: State) -> WebResponse {
        let ids = Self.find("ItemIds", in: body)?.children ?? []
        return Self.response(
            "GetItem",
            ids.map { element in
                var id = element.attributes["Id"] ?? ""
                if element.name.name == "RecurringMasterItemId" {
                    id = String((element.attributes["OccurrenceId"] ?? "").dropFirst(4).dropLast(11))
                }
                guard let item = Self.find(id, state) else { return Self.message("GetItem", "ErrorItemNotFound") }
                return Self.message("GetItem", "NoError", "<m:Items>\(Self.shown(item, nil))</m:Items>")
            })
    }

    /// - Parameter names: of the properties; nil for all.
    static func shown(_ item: Item, _ names: Set<String>?) -> String {
        var text = "<t:ItemId Id=\"\(XMLText.escaped(item.id))\" ChangeKey=\"\(XMLText.escaped(item.key))\"/>"
        text += item.parts.sorted { $0.key < $1.key }.filter { names?.contains($0.key) ?? true }.map { xml($0.value) }
            .joined()
        if names == nil {
            if let lines = item.lines {
                text +=
                    "<t:ExtendedProperty><t:ExtendedFieldURI PropertySetId=\"x\" PropertyName=\"hds-lines\" "
                    + "PropertyType=\"String\"/><t:Value>\(XMLText.escaped(lines))</t:Value></t:ExtendedProperty>"
            }
            let originals = Dictionary(
                plain(item).map { ($0.date, $0.start) }
            ) { first, _ in first }
            if !item.exceptions.isEmpty {
                let list = item.exceptions.keys.sorted().map { date in
                    "<t:Occurrence><t:ItemId Id=\"OCC.\(item.id).\(date)\" ChangeKey=\"\(item.key)\"/><t:OriginalStart>"
                        + "\(Instant(seconds: originals[date] ?? 0))</t:OriginalStart></t:Occurrence>"
                }
                text += "<t:ModifiedOccurrences>\(list.joined())</t:ModifiedOccurrences>"
            }
            if !item.deleted.isEmpty {
                let list = item.deleted.sorted().map { date in
                    "<t:DeletedOccurrence><t:Start>\(Instant(seconds: originals[date] ?? 0))</t:Start>"
                        + "</t:DeletedOccurrence>"
                }
                text += "<t:DeletedOccurrences>\(list.joined())</t:DeletedOccurrences>"
            }
        }
        return "<t:CalendarItem>\(text)</t:CalendarItem>"
    }

    // MARK: - Writes

    static func store(_ item: Item, _ state: inout State) {
        state.lastNumber += 1
        var item = item
        item.key = "DwAAAB\(state.lastNumber)=="
        let isSeries = item.parts["Recurrence"] != nil
        item.parts["CalendarItemType"] = element("CalendarItemType", isSeries ? "RecurringMaster" : "Single")
        state.items[item.id] = item
        state.log.append(item.id)
    }

    private static let order = [
        "Subject", "Sensitivity", "Body", "Categories", "Importance", "ReminderIsSet", "ReminderMinutesBeforeStart",
        "ExtendedProperty", "UID", "Start", "End", "IsAllDayEvent", "LegacyFreeBusyStatus", "Location",
        "RequiredAttendees", "OptionalAttendees", "Resources", "Recurrence", "StartTimeZone", "EndTimeZone",
    ]

    private func create(_ body: XMLElement, _ state: inout State) -> WebResponse {
        func answer(_ code: String, _ content: String = "") -> WebResponse {
            Self.response("CreateItem", [Self.message("CreateItem", code, content)])
        }
        let first = Self.find("Items", in: body)?.children.first
        if let first, ["AcceptItem", "DeclineItem", "TentativelyAcceptItem"].contains(first.name.name) {
            let reference = first.children.first?.attributes ?? [:]
            guard var item = state.items[reference["Id"] ?? ""] else { return answer("ErrorItemNotFound") }
            guard item.key == reference["ChangeKey"] else { return answer("ErrorIrresolvableConflict") }
            state.replies.append(first.name.name)
            let word = ["AcceptItem": "Accept", "DeclineItem": "Decline"][first.name.name] ?? "Tentative"
            item.parts["MyResponseType"] = Self.element("MyResponseType", word)
            Self.store(item, &state)
            return answer("NoError", "<m:Items/>")
        }
        guard isFolder(body) else { return answer("ErrorFolderNotFound") }
        guard let told = first, told.name.name == "CalendarItem" else { return Self.fault("ErrorSchemaValidation") }
        // The schema is a sequence.
        let places = told.children.map { Self.order.firstIndex(of: $0.name.name) ?? -1 }
        guard !places.contains(-1), places == places.sorted() else { return Self.fault("ErrorSchemaValidation") }
        state.lastNumber += 1
        var item = Item(id: "AAMk\(state.lastNumber)+/=")
        item.parts["MyResponseType"] = Self.element("MyResponseType", "Organizer")
        item.parts["Organizer"] = Self.element(
            "Organizer", "", [Self.element("Mailbox", "", [Self.element("EmailAddress", "alice@example.com")])])
        for (name, text) in [
            ("DateTimeCreated", "2026-11-01T08:00:00Z"), ("LastModifiedTime", "2026-11-01T08:00:00Z"),
            ("IsCancelled", "false"),
        ] {
            item.parts[name] = Self.element(name, text)
        }
        for part in told.children { Self.set(part, on: &item.parts, &item.lines) }
        guard item.parts["Start"] != nil, item.parts["End"] != nil, item.parts["UID"] != nil else {
            return answer("ErrorCalendarInvalidPropertyValue")
        }
        Self.store(item, &state)
        let key = state.items[item.id]?.key ?? ""
        return answer(
            "NoError",
            "<m:Items><t:CalendarItem><t:ItemId Id=\"\(item.id)\" ChangeKey=\"\(key)\"/></t:CalendarItem></m:Items>")
    }

    private static func set(_ part: XMLElement, on parts: inout [String: XMLElement], _ lines: inout String?) {
        switch part.name.name {
        case "ExtendedProperty":
            lines = part.children.first { $0.name.name == "Value" }.map { String(decoding: $0.octets, as: UTF8.self) }
        case "Body" where part.attributes["BodyType"] == "Text":
            // Text is kept as HTML.
            let text = String(decoding: part.octets, as: UTF8.self)
            var body = element("Body", "<html><head><style>p {}</style></head>" + HTMLText.document(text).dropFirst(6))
            body.attributes["BodyType"] = "HTML"
            parts["Body"] = body
        case "RequiredAttendees", "OptionalAttendees":
            // Whoever is set anew has not answered.
            var list = part
            list.children = part.children.map { attendee in
                var attendee = attendee
                attendee.children.removeAll { $0.name.name == "ResponseType" }
                attendee.children.append(element("ResponseType", "Unknown"))
                return attendee
            }
            parts[part.name.name] = list
        default: parts[part.name.name] = part
        }
    }

    private func update(_ body: XMLElement, _ state: inout State) -> WebResponse {
        func answer(_ code: String) -> WebResponse { Self.response("UpdateItem", [Self.message("UpdateItem", code)]) }
        guard body.attributes["ConflictResolution"] == "NeverOverwrite",
            body.attributes["SendMeetingInvitationsOrCancellations"] == "SendToAllAndSaveCopy"
        else { return Self.fault("ErrorSchemaValidation") }
        let id = Self.find("ItemId", in: body)?.attributes ?? [:]
        guard let name = id["Id"], let item = Self.find(name, state) else { return answer("ErrorItemNotFound") }
        guard item.key == id["ChangeKey"] else { return answer("ErrorIrresolvableConflict") }
        var (parts, lines) = (item.parts, item.lines)
        var names: [String] = []
        for change in Self.find("Updates", in: body)?.children ?? [] {
            let uri = change.children.first?.attributes["FieldURI"] ?? "hds-lines"
            names.append((change.name.name == "SetItemField" ? "" : change.name.name + " ") + uri)
            switch change.name.name {
            case "DeleteItemField":
                if uri == "hds-lines" { lines = nil } else { parts[String(uri.split(separator: ":").last ?? "")] = nil }
            case "AppendToItemField":
                guard let part = change.children.last?.children.first, var list = parts[part.name.name] else {
                    return answer("ErrorInvalidPropertyAppend")
                }
                list.children += part.children
                parts[part.name.name] = list
            default:
                guard let new = change.children.last?.children, new.count == 1 else {
                    return answer("ErrorIncorrectUpdatePropertyCount")
                }
                Self.set(new[0], on: &parts, &lines)
            }
        }
        state.updates.append(names)
        if name.hasPrefix("OCC."), var master = state.items[String(name.dropFirst(4).dropLast(11))] {
            let date = String(name.suffix(10))
            parts["CalendarItemType"] = Self.element("CalendarItemType", "Exception")
            master.exceptions[date] = parts
            master.exceptionLines[date] = lines
            Self.store(master, &state)
        } else {
            var new = item
            (new.parts, new.lines) = (parts, lines)
            if names.contains(where: { $0.hasSuffix("Recurrence") || $0.hasSuffix(":Start") }) {
                (new.exceptions, new.deleted) = ([:], [])
            }
            Self.store(new, &state)
        }
        return answer("NoError")
    }

    private func delete(_ body: XMLElement, _ state: inout State) -> WebResponse {
        func answer(_ code: String) -> WebResponse { Self.response("DeleteItem", [Self.message("DeleteItem", code)]) }
        let name = Self.find("ItemId", in: body)?.attributes["Id"] ?? ""
        guard Self.find(name, state) != nil else { return answer("ErrorItemNotFound") }
        if name.hasPrefix("OCC."), var master = state.items[String(name.dropFirst(4).dropLast(11))] {
            let date = String(name.suffix(10))
            master.exceptions[date] = nil
            master.deleted.insert(date)
            Self.store(master, &state)
        } else {
            state.items[name] = nil
            state.log.append(name)
        }
        return answer("NoError")
    }

    private func availability(_ body: XMLElement, _ state: State) -> WebResponse {
        let time = { (name: String) in
            Timestamp(iso8601: (Self.find(name, in: Self.find("TimeWindow", in: body))?.text ?? "") + "Z")
                .map { Int($0.seconds) } ?? 0
        }
        guard time("StartTime") < time("EndTime"), time("EndTime") - time("StartTime") <= 62 * 86_400 else {
            return Self.fault("ErrorTimeIntervalTooBig")
        }
        let events = state.items.values.flatMap { Self.occurrences(of: $0, time("StartTime")..<time("EndTime")) }.map {
            "<t:CalendarEvent><t:StartTime>\($0.text("Start").dropLast())</t:StartTime><t:EndTime>\($0.text("End").dropLast())"
                + "</t:EndTime><t:BusyType>\($0.text("LegacyFreeBusyStatus"))</t:BusyType></t:CalendarEvent>"
        }
        return Self.envelope(
            200,
            "<m:GetUserAvailabilityResponse><m:FreeBusyResponseArray><m:FreeBusyResponse><m:ResponseMessage "
                + "ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode></m:ResponseMessage><m:FreeBusyView>"
                + "<t:FreeBusyViewType>FreeBusy</t:FreeBusyViewType><t:CalendarEventArray>\(events.joined())"
                + "</t:CalendarEventArray></m:FreeBusyView></m:FreeBusyResponse></m:FreeBusyResponseArray>"
                + "</m:GetUserAvailabilityResponse>")
    }

    // MARK: - Occurrences

    static func find(_ id: String, _ state: State) -> Item? {
        if let item = state.items[id] { return item }
        guard id.hasPrefix("OCC."), let master = state.items[String(id.dropFirst(4).dropLast(11))] else { return nil }
        return occurrences(of: master, 0..<Int.max).first { $0.id == id }
    }

    private static func seconds(_ item: Item, _ name: String) -> Int {
        Timestamp(iso8601: item.text(name)).map { Int($0.seconds) } ?? 0
    }

    /// The days of a series, before anybody changed one; those of the fake Graph.
    private static func plain(_ item: Item) -> [FakeGraph.Occurrence] {
        guard let recurrence = item.parts["Recurrence"] else { return [] }
        let weekly = find("WeeklyRecurrence", in: recurrence)
        var pattern: JSONValue = [
            "type": weekly == nil ? "daily" : "weekly",
            "interval": .integer(find("Interval", in: recurrence).flatMap { Int($0.text) } ?? 1),
        ]
        pattern["daysOfWeek"] = .array(
            (find("DaysOfWeek", in: weekly)?.text ?? "").split(separator: " ").map { .string($0.lowercased()) })
        var range: JSONValue = [:]
        if let count = find("NumberOfOccurrences", in: recurrence).flatMap({ Int($0.text) }) {
            range["numberOfOccurrences"] = .integer(count)
        }
        if let end = find("EndDate", in: recurrence)?.text { range["endDate"] = .string(end) }
        let event: JSONValue = [
            "id": .string(item.id), "start": FakeGraph.utc(seconds(item, "Start")),
            "end": FakeGraph.utc(seconds(item, "End")), "recurrence": ["pattern": pattern, "range": range],
            "originalStartTimeZone": .string(item.parts["StartTimeZone"]?.attributes["Id"] ?? "UTC"),
        ]
        return FakeGraph.occurrences(of: event, FakeGraph.State(), 0..<Int.max)
    }

    static func occurrences(of item: Item, _ window: Range<Int>) -> [Item] {
        let touches = { (item: Item) in
            seconds(item, "Start") < window.upperBound && seconds(item, "End") > window.lowerBound
        }
        guard item.parts["Recurrence"] != nil else { return touches(item) ? [item] : [] }
        return plain(item).filter { !item.deleted.contains($0.date) }.map { occurrence in
            var found = item
            found.id = "OCC.\(item.id).\(occurrence.date)"
            found.lines = item.exceptionLines[occurrence.date]
            (found.exceptions, found.deleted) = ([:], [])
            found.parts["Recurrence"] = nil
            found.parts["CalendarItemType"] = element("CalendarItemType", "Occurrence")
            found.parts["Start"] = element("Start", Instant(seconds: occurrence.start).description)
            found.parts["End"] = element("End", Instant(seconds: occurrence.end).description)
            if let exception = item.exceptions[occurrence.date] { found.parts = exception }
            found.parts["OriginalStart"] = element("OriginalStart", Instant(seconds: occurrence.start).description)
            return found
        }.filter(touches)
    }
}
