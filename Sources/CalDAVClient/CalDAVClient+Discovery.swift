package import CalendarBackend
import CalendarTransport
import CalendarXML
import HTTPClient

extension CalDAVClient {
    package func discover(_ user: CalendarUser) async throws -> CalendarAccount {
        let principal = try await principal(of: user)
        let names: [DAVName] = [
            .caldav("calendar-home-set"), .caldav("calendar-user-address-set"), .caldav("schedule-inbox-URL"),
            .caldav("schedule-outbox-URL"),
        ]
        guard let (answer, status) = try await properties(names, of: principal, for: user) else {
            throw CalendarError.notFound("the user's principal")
        }
        let properties = status.responses.first?.properties ?? [:]
        var account = CalendarAccount(user: user, principal: href(of: answer.address), calendars: [])
        account.addresses = properties[.caldav("calendar-user-address-set")]?.hrefs ?? []
        account.inbox = try place(properties[.caldav("schedule-inbox-URL")], answer).map {
            CalendarReference(user: user, href: href(of: $0))
        }
        account.outbox = try place(properties[.caldav("schedule-outbox-URL")], answer).map(href(of:))
        let homes = properties[.caldav("calendar-home-set")]?.hrefs ?? []
        guard !homes.isEmpty else {
            throw CalendarError.violation(
                "the calendar server names no calendars of the user", expected: "a calendar-home-set")
        }
        var seen: Set<CalendarHref> = []
        for home in homes {
            // Some services keep the calendars on another host than the principal.
            let address = try answer.address.resolve(home)
            for calendar in try await calendars(below: address, for: user)
            where seen.insert(calendar.reference.href).inserted {
                account.calendars.append(calendar)
            }
        }
        return account
    }

    /// Makes a calendar (RFC 4791, section 5.3.1), for tests and drills.
    package func makeCalendar(_ name: String, at href: CalendarHref, for user: CalendarUser) async throws {
        let content =
            "<D:set><D:prop><D:displayname>\(DAVText.escaped(name))</D:displayname>"
            + "<C:supported-calendar-component-set><C:comp name=\"VEVENT\"/></C:supported-calendar-component-set>"
            + "</D:prop></D:set>"
        let answer = try await ask(
            "MKCALENDAR", try address(of: href), depth: 0, DAVText.document(.caldav("mkcalendar"), content), for: user)
        guard answer.status == 201 else { throw CalDAVTransport.failure(answer, about: "the calendar's home") }
    }

    package func availability(of account: CalendarAccount) async throws -> [UInt8]? {
        guard let inbox = account.inbox else { return nil }
        let address = try address(of: inbox.href)
        let name = DAVName.caldav("calendar-availability")
        do {
            let found = try await properties([name], of: address, for: account.user)
            guard let value = found?.status.responses.first?.properties[name] else { return nil }
            guard !value.text.isEmpty else { return nil }
            guard Self.isWhole(value.octets) else {
                throw CalendarError.violation("the availability can not be read", expected: "a whole VCALENDAR")
            }
            return value.octets
        } catch let error as CalendarError where error.reason == .serverAway {
            // A server that answers all but this question does not know the property.
            guard try await properties([.dav("resourcetype")], of: address, for: account.user) != nil else {
                throw error
            }
            throw CalendarError.unsupported("availability")
        }
    }

    // MARK: - Steps

    /// RFC 6764, section 6: the configured path, the well-known one, the root.
    private func principal(of user: CalendarUser) async throws -> CalDAVAddress {
        let (base, elsewhere) = await service()
        if case .path(let template) = settings.principal {
            let path = template.replacing("{user}", with: Self.encoded(user.id))
                .replacing("{address}", with: Self.encoded(user.address))
            return try base.resolve(path)
        }
        let paths = (base.path == "/" ? [] : [base.path]) + ["/.well-known/caldav", "/"]
        for path in paths {
            let name = DAVName.dav("current-user-principal")
            let body = DAVText.document(.dav("propfind"), DAVText.properties([name]))
            let answer = try await ask(
                "PROPFIND", CalDAVAddress(origin: base.origin, path: path), depth: 0, body, for: user)
            // Whatever else it says: nobody answers CalDAV at this path.
            guard answer.status == 207 else {
                if answer.status >= 500 || answer.status == 403 {
                    throw CalDAVTransport.failure(answer, about: "the calendar server")
                }
                continue
            }
            let property = try multistatus(of: answer, about: "the calendar server").responses.first?.properties[name]
            if property?[.dav("unauthenticated")] != nil {
                throw CalendarError.credentialsRefused("an answer for nobody")
            }
            if let principal = try place(property, answer) { return principal }
        }
        if let elsewhere { throw CalendarError.redirectPending(to: elsewhere.description) }
        throw CalendarError.violation(
            "no calendar server answers at this URL", expected: "a current-user-principal",
            found: "none at \(paths.joined(separator: ", "))")
    }

    /// Where the calendars of the configured domain are: by its DNS records (RFC 6764, sections 3 and 4) when they lead to an origin
    /// that is allowed, else where the URL says.
    ///
    /// - Returns: also the first origin that DNS names and nobody has allowed.
    private func service() async -> (CalDAVAddress, elsewhere: CalDAVOrigin?) {
        let base = transport.base
        guard base.path == "/", base.origin.isSecure, base.origin.port == 443, let services = settings.services else {
            return (base, nil)
        }
        let records = await services(base.origin.host)
        var elsewhere: CalDAVOrigin?
        for target in records.targets.prefix(8) {
            let origin = CalDAVOrigin(isSecure: true, host: target.host, port: Int(target.port))
            do {
                try transport.checkAllowed(origin)
                let path = records.path.flatMap { try? CalDAVAddress(origin: origin, path: "/").resolve($0) }
                return (path ?? CalDAVAddress(origin: origin, path: "/"), nil)
            } catch {
                elsewhere = elsewhere ?? origin
            }
        }
        return (base, elsewhere)
    }

    /// Where a property leads; another origin has to be allowed.
    private func place(
        _ property: DAVElement?, _ answer: CalDAVTransport.Answer
    ) throws(CalendarError) -> CalDAVAddress? {
        guard let href = property?.hrefs.first else { return nil }
        let address = try answer.address.resolve(href)
        try transport.checkAllowed(address.origin)
        return address
    }

    private func calendars(below home: CalDAVAddress, for user: CalendarUser) async throws -> [CalendarInformation] {
        let names: [DAVName] = [
            .dav("resourcetype"), .dav("displayname"), .dav("sync-token"), .server("getctag"), .dav("owner"),
            .dav("current-user-privilege-set"), .caldav("supported-calendar-component-set"),
        ]
        guard let (answer, status) = try await properties(names, of: home, depth: 1, for: user) else {
            throw CalendarError.notFound("the home of the user's calendars")
        }
        var calendars: [CalendarInformation] = []
        for response in status.responses {
            let properties = response.properties
            guard properties[.dav("resourcetype")]?[.caldav("calendar")] != nil else { continue }
            let text = { (name: DAVName) in properties[name].map(\.text).flatMap { $0.isEmpty ? nil : $0 } }
            let owner = properties[.dav("owner")]?.hrefs.first
            calendars.append(
                CalendarInformation(
                    reference: CalendarReference(user: user, href: try href(response.href, in: answer)),
                    name: text(.dav("displayname")),
                    components: Set(
                        properties[.caldav("supported-calendar-component-set")]?.all(.caldav("comp"))
                            .compactMap { $0.nameAttribute?.uppercased() } ?? []),
                    ctag: text(.server("getctag")), token: text(.dav("sync-token")).map(SyncToken.init),
                    rights: Self.rights(properties[.dav("current-user-privilege-set")]),
                    // Some servers write an address there, which is no resource of theirs.
                    owner: owner.flatMap { try? href($0, in: answer) }))
        }
        return calendars
    }

    /// A server that tells no rights refuses by itself what is not allowed.
    private static func rights(_ element: DAVElement?) -> CalendarRights {
        guard let element else { return .all }
        var rights: CalendarRights = []
        for privilege in element.all(.dav("privilege")).flatMap(\.children) {
            switch privilege.name {
            case .dav("all"): rights.formUnion(.all)
            case .dav("read"): rights.formUnion([.read, .freeBusy])
            case .dav("write"): rights.formUnion([.write, .add, .remove])
            case .dav("write-content"): rights.insert(.write)
            case .dav("bind"): rights.insert(.add)
            case .dav("unbind"): rights.insert(.remove)
            case .caldav("read-free-busy"): rights.insert(.freeBusy)
            default: break
            }
        }
        return rights
    }

    private static func encoded(_ text: String) -> String {
        text.utf8.map { octet in
            Character(UnicodeScalar(octet)).isASCII
                && (Character(UnicodeScalar(octet)).isLetter || octet >= 0x30 && octet <= 0x39)
                ? String(UnicodeScalar(octet))
                : "%" + (octet < 16 ? "0" : "") + String(octet, radix: 16, uppercase: true)
        }.joined()
    }
}
