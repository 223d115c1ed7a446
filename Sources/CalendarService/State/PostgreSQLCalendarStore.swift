import Diagnostics
import Dispatch
import PostgreSQLClient
import Synchronization
import WireText

/// The store in PostgreSQL: for connectors on several machines. Times are the server's. One connection, on a thread of its own;
/// it is made anew at the next call after a failure.
final class PostgreSQLCalendarStore: CalendarStore {
    private let settings: PostgreSQLSettings
    private let thread = DispatchQueue(label: "hds.calendar.postgresql")
    private let state = Mutex((connection: PostgreSQLConnection?.none, isClosed: false))
    private static let patience = Duration.seconds(10)

    init(_ settings: PostgreSQLSettings) async throws {
        self.settings = settings
        _ = try await run([PostgreSQLCall(Statement.probe)])
    }

    // MARK: - Connection

    /// The answers of calls that are one transaction.
    private func run(_ calls: [PostgreSQLCall]) async throws -> [PostgreSQLRows] {
        try await withCheckedThrowingContinuation { continuation in
            thread.async { continuation.resume(with: Result { try self.perform(calls) }) }
        }
    }

    private func perform(_ calls: [PostgreSQLCall]) throws -> [PostgreSQLRows] {
        try state.withLock { state in
            guard !state.isClosed else { throw Self.away("it is closed") }
            do {
                let deadline = ContinuousClock.now + Self.patience
                let connection = try state.connection ?? connect(until: deadline)
                state.connection = connection
                return try connection.run(calls, until: deadline).map { try $0.get() }
            } catch let failure as PostgreSQLFailure {
                if failure.endsConnection { state.connection = nil }
                throw failure
            } catch {
                state.connection = nil
                throw error
            }
        }
    }

    private func connect(until deadline: ContinuousClock.Instant) throws -> PostgreSQLConnection {
        var last: (any Error)?
        for host in settings.hosts {
            do {
                let connection = try PostgreSQLConnection.open(settings, host: host, until: deadline)
                try connection.script(Statement.schema, until: deadline)
                try connection.prepare(Statement.all, until: deadline)
                return connection
            } catch {
                last = error
            }
        }
        throw Self.away(last.map { "\($0)" } ?? "no host is configured")
    }

    private static func away(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .calendarStore, fault: .store, "the connector's database can not be reached", found: found,
            hint: "check store.postgresql, and that the server runs and takes writes")
    }

    // MARK: - Documents

    func document(_ place: DocumentPlace) async throws -> [UInt8]? {
        var call = PostgreSQLCall(Statement.one)
        call.bind(place.owner)
        call.bind(place.kind.rawValue)
        call.bind(place.id)
        let rows = try await run([call])[0]
        return rows.count == 0 ? nil : rows.bytes(0, 0)
    }

    func documents(of owner: String, kind: DocumentKind) async throws -> [StoredDocument] {
        var call = PostgreSQLCall(Statement.ofOwner)
        call.bind(owner)
        call.bind(kind.rawValue)
        return Self.stored(try await run([call])[0])
    }

    func documents(ofShare share: Int, kind: DocumentKind, limit: Int) async throws -> [StoredDocument] {
        var call = PostgreSQLCall(Statement.ofShare)
        call.bind(kind.rawValue)
        call.bind(Int64(share))
        call.bind(Int64(limit))
        return Self.stored(try await run([call])[0])
    }

    private static func stored(_ rows: PostgreSQLRows) -> [StoredDocument] {
        (0..<rows.count).map {
            StoredDocument(owner: rows.text($0, 0), id: rows.text($0, 1), octets: rows.bytes($0, 2))
        }
    }

    func write(_ changes: [DocumentChange], under holding: ShareHolding) async throws -> Bool {
        var fence = PostgreSQLCall(Statement.fence)
        fence.bind(Int64(holding.share))
        fence.bind(holding.node)
        fence.bind(holding.fence)
        let calls = changes.map { change in
            let place = change.place
            switch change {
            case .put(_, let octets):
                var call = PostgreSQLCall(Statement.put)
                call.bind(place.owner)
                call.bind(place.kind.rawValue)
                call.bind(place.id)
                call.bind(Int64(Shares.share(of: place.owner)))
                call.bind(octets)
                return call
            case .remove:
                var call = PostgreSQLCall(Statement.remove)
                call.bind(place.owner)
                call.bind(place.kind.rawValue)
                call.bind(place.id)
                return call
            }
        }
        do {
            _ = try await run([fence] + calls)
            return true
        } catch let failure as PostgreSQLFailure where failure.state == Self.divisionByZero {
            return false
        }
    }

    /// SQLSTATE by which the statement `fence` ends the transaction of who has lost the share.
    private static let divisionByZero = "22012"

    // MARK: - Shares

    func beat(node: String, life: Duration, leaving: Set<Int>) async throws -> ShareBeat {
        let milliseconds = life.components.seconds * 1000
        var calls: [PostgreSQLCall] = [PostgreSQLCall(Statement.turn)]
        var alive = PostgreSQLCall(Statement.alive)
        alive.bind(node)
        alive.bind(milliseconds)
        calls += [alive, PostgreSQLCall(Statement.gone)]
        for share in leaving.sorted() {
            var call = PostgreSQLCall(Statement.free)
            call.bind(Int64(share))
            call.bind(node)
            calls.append(call)
        }
        var renew = PostgreSQLCall(Statement.renew)
        renew.bind(node)
        renew.bind(milliseconds)
        var take = PostgreSQLCall(Statement.take)
        take.bind(node)
        take.bind(milliseconds)
        take.bind(Int64(Shares.count))
        take.bind("," + leaving.map { "\($0)" }.joined(separator: ",") + ",")
        var held = PostgreSQLCall(Statement.held)
        held.bind(node)
        calls += [renew, take, PostgreSQLCall(Statement.nodes), held]
        let answers = try await run(calls)
        let (nodes, rows) = (answers[answers.count - 2], answers[answers.count - 1])
        return ShareBeat(
            holdings: try (0..<rows.count).map {
                ShareHolding(share: Int(try rows.integer($0, 0)), node: node, fence: try rows.integer($0, 1))
            }, nodes: Int(try nodes.integer(0, 0)))
    }

    func leave(node: String) async throws {
        var free = PostgreSQLCall(Statement.freeAll)
        free.bind(node)
        var forget = PostgreSQLCall(Statement.forget)
        forget.bind(node)
        _ = try await run([free, forget])
    }

    func holders() async throws -> [Int: String] {
        let rows = try await run([PostgreSQLCall(Statement.holders)])[0]
        var holders: [Int: String] = [:]
        for row in 0..<rows.count { holders[Int(try rows.integer(row, 0))] = rows.text(row, 1) }
        return holders
    }

    // MARK: - Commands

    func isNew(command id: String, until: Timestamp, now: Timestamp) async throws -> Bool {
        var old = PostgreSQLCall(Statement.oldCommands)
        old.bind(now.milliseconds)
        var new = PostgreSQLCall(Statement.newCommand)
        new.bind(id)
        new.bind(until.milliseconds)
        return try await run([old, new])[1].changed == 1
    }

    func check() async throws {
        var call = PostgreSQLCall(Statement.checked)
        call.bind(Timestamp.now().adding(seconds: 1).milliseconds)
        _ = try await run([call])
    }

    func close() async { state.withLock { $0 = (nil, true) } }
}
