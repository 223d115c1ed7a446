internal import CPostgreSQL
import Diagnostics
import Glibc
import Synchronization

/// One connection of libpq in pipeline mode: calls go out together, answers come back in their order.
///
/// Every call blocks its thread until it is answered or its deadline has come: use it from a thread made for that, never
/// from the pool of tasks. A thrown failure means that the connection is of no use any more and has to be dropped; what
/// the server refuses comes as the failure of its call. A late answer is never cancelled by a second connection, for
/// that of libpq 15 carries its secret in clear: the server's `statement_timeout` ends what nobody waits for.
@safe
package final class PostgreSQLConnection: @unchecked Sendable {  // every use of `handle` holds `turn`
    private let handle: OpaquePointer
    private let turn = Mutex(())
    package let host: PostgreSQLSettings.Host

    private init(owning handle: OpaquePointer, _ host: PostgreSQLSettings.Host) {
        unsafe self.handle = handle
        self.host = host
    }

    deinit { unsafe PQfinish(handle) }

    // MARK: Opening

    /// Connects to one host and logs in; a host that can not be used throws a `PostgreSQLFailure`.
    package static func open(
        _ settings: PostgreSQLSettings, host: PostgreSQLSettings.Host, until deadline: ContinuousClock.Instant
    ) throws -> PostgreSQLConnection {
        try settings.validate()
        guard let handle = unsafe try start(settings, host) else {
            throw PostgreSQLFailure(.other, "no memory for a connection")
        }
        let connection = unsafe PostgreSQLConnection(owning: handle, host)
        try connection.turn.withLock { _ in try connection.logIn(until: deadline) }
        return connection
    }

    private static func start(
        _ settings: PostgreSQLSettings, _ host: PostgreSQLSettings.Host
    ) throws -> OpaquePointer? {
        let parameters = settings.parameters(for: host)
        var names: [UnsafeMutablePointer<CChar>?] = unsafe parameters.map { unsafe strdup($0.name) }
        var values: [UnsafeMutablePointer<CChar>?] = unsafe parameters.map { unsafe strdup($0.value) }
        defer {
            unsafe (names + values).forEach { text in
                guard let text = unsafe text else { return }
                unsafe explicit_bzero(text, strlen(text))
                unsafe free(text)
            }
        }
        if var password = try settings.password?() {
            defer { unsafe password.withUnsafeMutableBytes { unsafe Self.wipe($0) } }
            guard !password.isEmpty, !password.contains(0) else {
                throw DiagnosedError(
                    .postgreSQLSettings, fault: .configuration, "the password of the PostgreSQL database is unusable",
                    expected: "text without zero octets", hint: "write the secret again")
            }
            unsafe names.append(strdup("password"))
            unsafe values.append(
                password.withUnsafeBufferPointer { octets in
                    let start = unsafe UnsafeRawPointer(octets.baseAddress)?.assumingMemoryBound(to: CChar.self)
                    return unsafe start.flatMap { unsafe strndup($0, octets.count) }
                })
        }
        unsafe names.append(nil)
        unsafe values.append(nil)
        let keywords = unsafe names.map { unsafe UnsafePointer($0) }
        let texts = unsafe values.map { unsafe UnsafePointer($0) }
        return unsafe keywords.withUnsafeBufferPointer { keywords in
            unsafe texts.withUnsafeBufferPointer { texts in
                // Both end with nil: neither is empty.
                unsafe PQconnectStartParams(keywords.baseAddress!, texts.baseAddress!, 0)
            }
        }
    }

    private static func wipe(_ octets: UnsafeMutableRawBufferPointer) {
        guard let start = octets.baseAddress else { return }
        unsafe explicit_bzero(start, octets.count)
    }

    private func logIn(until deadline: ContinuousClock.Instant) throws {
        // With SQLSTATEs in the text: it is all that tells why a login failed.
        unsafe PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        unsafe PQsetNoticeProcessor(handle, { _, _ in }, nil)
        var phase = unsafe PQstatus(handle) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING
        while phase != PGRES_POLLING_OK {
            switch phase {
            case PGRES_POLLING_READING: try wait(POLLIN, until: deadline, else: .unreachable)
            case PGRES_POLLING_WRITING: try wait(POLLOUT, until: deadline, else: .unreachable)
            default: throw PostgreSQLFailure.connecting(errorText)
            }
            phase = unsafe PQconnectPoll(handle)
        }
        guard unsafe PQsetnonblocking(handle, 1) == 0, unsafe PQenterPipelineMode(handle) == 1 else {
            throw PostgreSQLFailure(.lost, errorText)
        }
    }

    /// What protects it: protocol and cipher, or nil without TLS.
    package var protection: String? {
        turn.withLock { _ in
            func attribute(_ name: String) -> String? {
                unsafe PQsslAttribute(handle, name).map { unsafe String(cString: $0) }
            }
            guard unsafe PQsslInUse(handle) == 1 else { return nil }
            return [attribute("protocol"), attribute("cipher")].compactMap { $0 }.joined(separator: " ")
        }
    }

    // MARK: Calls

    /// Sends all calls, then waits for all answers. `isolated`: each is a transaction of its own, and what one is refused
    /// does not touch the others; else what follows a refused call is skipped.
    package func run(
        _ calls: [PostgreSQLCall], isolated: Bool = false, until deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) -> [Result<PostgreSQLRows, PostgreSQLFailure>] {
        try locked { () throws(PostgreSQLFailure) in
            for (index, call) in calls.enumerated() {
                try send(call)
                if isolated || index == calls.count - 1 { try synchronize() }
            }
            var answers: [Result<PostgreSQLRows, PostgreSQLFailure>] = []
            answers.reserveCapacity(calls.count)
            for index in calls.indices {
                answers.append(try answer(until: deadline))
                if isolated || index == calls.count - 1 { try expectSync(until: deadline) }
            }
            return answers
        }
    }

    /// Prepares statements, all in one exchange; throws what the server refuses.
    package func prepare(
        _ statements: [PostgreSQLStatement], until deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) {
        try locked { () throws(PostgreSQLFailure) in
            for statement in statements {
                let types = statement.types.map(\.rawValue)
                let sent = unsafe types.withUnsafeBufferPointer { types in
                    unsafe PQsendPrepare(
                        handle, statement.name, statement.sql, Int32(types.count), types.baseAddress)
                }
                guard sent == 1 else { throw lost }
            }
            try synchronize()
            var refusal: PostgreSQLFailure?
            for _ in statements {
                if case .failure(let failure) = try answer(until: deadline), refusal == nil { refusal = failure }
            }
            try expectSync(until: deadline)
            if let refusal { throw refusal }
        }
    }

    /// Runs constant text of any number of statements, as one transaction unless it says otherwise; the last answer, as
    /// text. Throws what the server refuses.
    @discardableResult
    package func script(
        _ sql: String, until deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) -> PostgreSQLRows? {
        try locked { () throws(PostgreSQLFailure) in
            guard unsafe PQexitPipelineMode(handle) == 1, unsafe PQsendQuery(handle, sql) == 1 else { throw lost }
            var last: Result<PostgreSQLRows, PostgreSQLFailure>?
            while let result = unsafe try next(until: deadline) {
                defer { unsafe PQclear(result) }
                let read = unsafe try read(result)
                if case .failure? = last { continue }
                last = read
            }
            guard unsafe PQenterPipelineMode(handle) == 1 else { throw lost }
            return try last?.get()
        }
    }

    private func send(_ call: PostgreSQLCall) throws(PostgreSQLFailure) {
        let octets = call.octets + [0]
        let lengths = call.lengths
        let formats = [Int32](repeating: 1, count: lengths.count)
        let sent = unsafe octets.withUnsafeBufferPointer { octets -> Int32 in
            let start = unsafe UnsafeRawPointer(octets.baseAddress!).assumingMemoryBound(to: CChar.self)  // not empty
            var offset = 0
            let values: [UnsafePointer<CChar>?] = unsafe lengths.map { length in
                defer { offset += max(0, Int(length)) }
                return unsafe length < 0 ? nil : start + offset
            }
            return unsafe PQsendQueryPrepared(
                handle, call.statement.name, Int32(lengths.count), values, lengths, formats, 1)
        }
        guard sent == 1 else { throw lost }
    }

    private func synchronize() throws(PostgreSQLFailure) {
        guard unsafe PQpipelineSync(handle) == 1 else { throw lost }
    }

    private func expectSync(until deadline: ContinuousClock.Instant) throws(PostgreSQLFailure) {
        guard let result = unsafe try next(until: deadline) else { throw lost }
        defer { unsafe PQclear(result) }
        guard unsafe PQresultStatus(result) == PGRES_PIPELINE_SYNC else { throw lost }
    }

    /// The answer of one call and the mark of its end.
    private func answer(
        until deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) -> Result<PostgreSQLRows, PostgreSQLFailure> {
        guard let result = unsafe try next(until: deadline) else { throw lost }
        defer { unsafe PQclear(result) }
        let answer = unsafe try read(result)
        if let more = unsafe try next(until: deadline) {
            unsafe PQclear(more)
            throw PostgreSQLFailure(.lost, "more than one answer to a call")
        }
        return answer
    }

    private func next(until deadline: ContinuousClock.Instant) throws(PostgreSQLFailure) -> OpaquePointer? {
        while unsafe PQisBusy(handle) == 1 {
            let unsent = unsafe PQflush(handle)
            guard unsent >= 0 else { throw lost }
            try wait(unsent == 1 ? POLLIN | POLLOUT : POLLIN, until: deadline, else: .late)
            guard unsafe PQconsumeInput(handle) == 1 else { throw lost }
        }
        return unsafe PQgetResult(handle)
    }

    /// Throws when the server closed the connection with this answer.
    private func read(_ result: OpaquePointer) throws(PostgreSQLFailure) -> Result<PostgreSQLRows, PostgreSQLFailure> {
        switch unsafe PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: return .success(unsafe rows(result))
        case PGRES_PIPELINE_ABORTED: return .failure(PostgreSQLFailure(.skipped, "something before it failed"))
        default:
            func field(_ code: Character) -> String? {
                let text = unsafe PQresultErrorField(result, Int32(code.asciiValue ?? 0))
                return unsafe text.map { unsafe String(cString: $0) }
            }
            // PG_DIAG_SQLSTATE and PG_DIAG_MESSAGE_PRIMARY (postgres_ext.h).
            let failure = PostgreSQLFailure(state: field("C"), message: field("M") ?? "no message")
            if unsafe PQstatus(handle) == CONNECTION_BAD || failure.kind == .unready {
                throw PostgreSQLFailure(.lost, failure.message, state: failure.state)
            }
            return .failure(failure)
        }
    }

    private func rows(_ result: OpaquePointer) -> PostgreSQLRows {
        let changed = unsafe Int(String(cString: PQcmdTuples(result))) ?? 0
        let command = unsafe String(cString: PQcmdStatus(result))
        return PostgreSQLRows(
            count: Int(unsafe PQntuples(result)), columns: Int(unsafe PQnfields(result)), changed: changed,
            command: command
        ) { row, column in
            guard unsafe PQgetisnull(result, Int32(row), Int32(column)) == 0 else { return nil }
            let start = unsafe UnsafeRawPointer(PQgetvalue(result, Int32(row), Int32(column)))
            let count = Int(unsafe PQgetlength(result, Int32(row), Int32(column)))
            return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
        }
    }

    // MARK: Waiting

    private func locked<R>(_ body: () throws(PostgreSQLFailure) -> R) throws(PostgreSQLFailure) -> R {
        try turn.withLock { _ throws(PostgreSQLFailure) in try body() }
    }

    private func wait(
        _ events: Int32, until deadline: ContinuousClock.Instant, else kind: PostgreSQLFailure.Kind
    ) throws(PostgreSQLFailure) {
        while true {
            let left = ContinuousClock.now.duration(to: deadline)
            guard left > .zero else { throw PostgreSQLFailure(kind, "no answer of \(host) in time") }
            let parts = left.components
            let milliseconds = min(60_000, parts.seconds * 1000 + parts.attoseconds / 1_000_000_000_000_000 + 1)
            var watched = pollfd(fd: unsafe PQsocket(handle), events: Int16(events), revents: 0)
            guard watched.fd >= 0 else { throw lost }
            let count = unsafe poll(&watched, 1, Int32(milliseconds))
            if count > 0 { return }
            if count < 0, errno != EINTR { throw PostgreSQLFailure(.lost, "poll: \(errno)") }
        }
    }

    private var lost: PostgreSQLFailure {
        PostgreSQLFailure(.lost, PostgreSQLFailure.connecting(errorText).message)
    }

    private var errorText: String { unsafe String(cString: PQerrorMessage(handle)) }
}
