import CalendarProtocol
import ControlSocket
import Diagnostics
import ServiceLifecycle
import ServiceRuntime
import WireText

/// The connector's control socket: root and the service's own user ask how users stand, and have them read again.
struct CalendarControl: Service {
    private let socket: ControlSocket

    /// Listens when it returns.
    init(
        _ section: CalendarControlSection, node: String, organisation: String, _ connector: Connector,
        identity: ServiceIdentity
    ) throws {
        socket = try ControlSocket(
            .init(
                path: section.socket.path,
                identity: .init(service: identity.name, host: organisation, node: node, version: identity.version)),
            handler: CalendarControlCommands(connector: connector, node: node))
    }

    func run() async throws {
        try? await gracefulShutdown()
        await socket.stop()
    }
}

struct CalendarControlCommands: ControlHandler {
    let connector: Connector
    let node: String

    private static let mostShown = 1000

    func perform(
        _ request: ControlRequest, peer: PeerCredentials, progress: ControlProgress
    ) async throws -> ControlAnswer {
        let arguments = request.arguments
        switch request.command {
        case "users": return try await users(arguments["state"]?.string)
        case "why": return try await why(try user(arguments))
        case "sync": return try await sync(try user(arguments), everything: false)
        case "replay": return try await sync(try user(arguments), everything: true)
        default:
            throw DiagnosedError(
                .controlUnknownCommand, fault: .client, "the connector does not know the command",
                expected: "users, why, sync or replay", found: request.command.quotedForError)
        }
    }

    private func user(_ arguments: JSONNode) throws -> ConnectedUser {
        let list = connector.parts.users.list
        guard let name = arguments["user"]?.string, let user = list.users[list.id(of: name) ?? name] else {
            throw DiagnosedError(
                .calendarUsers, fault: .client, "the connector looks after no such user",
                expected: "an id or a mail address of the list of users",
                found: (arguments["user"]?.string ?? "nothing").quotedForError,
                hint: "hdsctl calendar users lists them")
        }
        return user
    }

    private func users(_ wanted: String?) async throws -> ControlAnswer {
        let parts = connector.parts
        let state = try await parts.state()
        let holders = try await parts.store.holders()
        let list = parts.users.list.users.values.sorted { $0.address < $1.address }
        var rows: [(ConnectedUser, UserState, String?)] = []
        for user in list {
            let known = try await state.user(user.id) ?? UserState()
            guard wanted == nil || known.state.rawValue == wanted else { continue }
            rows.append((user, known, holders[Shares.share(of: user.id)]))
            if rows.count == Self.mostShown { break }
        }
        return ControlAnswer { json in
            json.member("node", node)
            json.member("all", list.count)
            json.name("users")
            json.beginArray()
            for (user, known, holder) in rows {
                json.beginObject()
                Self.write(user, known, holder, to: &json)
                json.endObject()
            }
            json.endArray()
        }
    }

    private static func write(_ user: ConnectedUser, _ known: UserState, _ holder: String?, to json: inout JSONWriter) {
        json.member("id", user.id)
        json.member("email", user.address)
        json.member("backend", user.backend)
        json.member("state", known.state.rawValue)
        json.member("code", ifPresent: known.code)
        json.member("connector", ifPresent: holder)
        if known.since.milliseconds > 0 { json.member("since", known.since.iso8601) }
        json.member("lastRound", ifPresent: known.lastRound?.iso8601)
    }

    /// Everything that is known of one user, and what to do; no text of a calendar.
    private func why(_ user: ConnectedUser) async throws -> ControlAnswer {
        let parts = connector.parts
        let state = try await parts.state()
        let known = try await state.user(user.id) ?? UserState()
        let calendars = try await state.calendars(of: user.id)
        let objects = try await state.objects(of: user.id)
        let waiting = try await state.waitingEvents(of: user.id)
        let holder = try await parts.store.holders()[Shares.share(of: user.id)]
        let standing = connector.standing(of: user.id)
        return ControlAnswer { json in
            Self.write(user, known, holder, to: &json)
            json.member("trouble", ifPresent: known.trouble)
            json.member("fix", ifPresent: known.fix)
            if holder == node, let trouble = standing?.trouble, known.trouble == nil {
                json.member("trouble", trouble.summary)
                json.member("fix", ifPresent: trouble.hint)
            }
            if let standing { json.member("failures", standing.failures) }
            json.member("events", waiting)
            json.member("meetings", objects.values.reduce(0) { $0 + $1.meetings.count })
            json.name("calendars")
            json.beginArray()
            for (id, calendar) in calendars.sorted(by: { $0.key < $1.key }) {
                json.beginObject()
                json.member("name", calendar.name ?? "")
                json.member("objects", objects.values.count { $0.calendar == id })
                json.member("token", calendar.token != nil)
                json.member("compared", calendar.auditedAt.iso8601)
                json.endObject()
            }
            json.endArray()
            json.name("problems")
            json.beginObject()
            for (code, count) in known.problems.sorted(by: { $0.key < $1.key }) { json.member(code, count) }
            json.endObject()
        }
    }

    private func sync(_ user: ConnectedUser, everything: Bool) async throws -> ControlAnswer {
        let start = ContinuousClock.now
        guard let outcome = try await connector.perform(user, everything: everything) else {
            let holder = try await connector.parts.store.holders()[Shares.share(of: user.id)]
            throw DiagnosedError(
                "calendar-elsewhere", fault: .client, "another connector has this user", found: holder ?? "nobody yet",
                hint: holder.map { "ask on the node \($0)" } ?? "wait a few seconds, then again")
        }
        let milliseconds = (ContinuousClock.now - start) / .milliseconds(1)
        return ControlAnswer { json in
            json.member("calendars", outcome.calendars)
            json.member("objects", outcome.objects)
            json.member("events", outcome.events)
            json.member("drift", outcome.drift)
            json.member("milliseconds", Int(milliseconds))
        }
    }
}
