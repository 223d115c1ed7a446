import Diagnostics
import Glibc
import KeyStore
import PostgreSQLClient
import Synchronization
import WireText

/// Applies batches of changes, each batch as one transaction with one synchronous commit, over one connection.
///
/// Most batches take two exchanges: all statements of all changes, then COMMIT. When one of several changes conflicts,
/// the batch is taken back and done again with a savepoint for each. A transaction begins by waiting for its turn (an
/// advisory lock): one writer of the cluster at a time, so that positions of the ledger become visible in their order and
/// nodes never deadlock.
///
/// Each batch leaves its number in this writer's row of `commit_marks`. When the connection is lost at COMMIT, the next
/// one looks there: the mark is part of the transaction, so it is there exactly when the batch is, also on a standby
/// that was promoted meanwhile. Waiting for the turn before looking waits for the end of the lost transaction.
/// See docs/decisions/015-postgresql.md.
final class ChangeWriter: Sendable {
    private typealias Waiter = GroupCommit.Waiter
    private typealias Outcome = GroupCommit.Outcome
    private typealias Answers = [Result<PostgreSQLRows, PostgreSQLFailure>]

    /// A batch whose COMMIT was sent and not answered.
    private struct Unanswered {
        let number: Int64
        var outcomes: [Outcome]
    }

    /// The waiters of a batch that still wait, and what is known about it.
    private struct Batch {
        var waiters: [Waiter]
        var unanswered: Unanswered?

        /// Drops whoever has waited long enough, with what is known by then.
        mutating func expire(at now: ContinuousClock.Instant, _ trouble: PostgreSQLFailure, _ diagnosis: StoreDiagnosis)
        {
            let error = unanswered == nil ? diagnosis.diagnosed(trouble) : diagnosis.unknownOutcome(trouble)
            var left = Batch(waiters: [], unanswered: unanswered)
            left.unanswered?.outcomes = []
            for (index, waiter) in waiters.enumerated() {
                guard waiter.deadline > now else {
                    waiter.resume(.failure(error))
                    continue
                }
                left.waiters.append(waiter)
                if let outcome = unanswered?.outcomes[index] { left.unanswered?.outcomes.append(outcome) }
            }
            self = left
        }

        func resume(_ outcomes: [Outcome]) {
            for (waiter, outcome) in zip(waiters, outcomes) { waiter.resume(outcome) }
        }
        func fail(_ error: DiagnosedError) { for waiter in waiters { waiter.resume(.failure(error)) } }
    }

    private struct State {
        var connection: PostgreSQLConnection?
        var number: Int64 = 0
    }

    private let connector: StoreConnector
    private let id: RecordID
    /// Touched by one batch at a time; a mutex for the compiler.
    private let state: Mutex<State>

    init(_ connector: StoreConnector, _ connection: PostgreSQLConnection) {
        self.connector = connector
        id = RecordID(UUIDText.random())!  // the form that `UUIDText` writes
        state = Mutex(State(connection: connection))
    }

    func close() { state.withLock { $0.connection = nil } }

    /// Resumes every waiter, at the latest a second after its deadline; blocks.
    func apply(_ waiters: [GroupCommit.Waiter]) {
        state.withLock { state in apply(waiters, &state) }
    }

    private func apply(_ waiters: [Waiter], _ state: inout State) {
        var batch = Batch(waiters: waiters)
        var trouble = PostgreSQLFailure(.unreachable, "no connection")
        var pause: useconds_t = 20_000
        var isFirst = true
        while true {
            batch.expire(at: isFirst ? .now : connector.present, trouble, connector.diagnosis)
            isFirst = false
            guard let first = batch.waiters.map(\.deadline).min(), let last = batch.waiters.map(\.deadline).max()
            else { return }
            do {
                if let held = state.connection, !connector.isCurrent(held) { state.connection = nil }
                let connection = try state.connection ?? connector.connect(Statements.writing, until: first)
                state.connection = connection
                // Who came last may have an answer that is a little late rather than a connection that is torn down.
                try attempt(&batch, connection, &state.number, until: max(last, .now + .seconds(1)))
                connector.note(nil)
                return
            } catch let failure as PostgreSQLFailure {
                trouble = failure
                connector.note(failure)
                if failure.endsConnection { state.connection = nil }
                // A server that has been there may, during a failover, refuse what it granted and will grant again.
                guard failure.isHeld || state.connection == nil else {
                    return batch.fail(connector.diagnosis.diagnosed(failure))
                }
                usleep(pause)
                pause = min(pause * 2, 320_000)
            } catch {
                return batch.fail(connector.diagnosis.diagnosed(error))
            }
        }
    }

    /// Carries the batch out and resumes its waiters; throws when it has to be tried again.
    private func attempt(
        _ batch: inout Batch, _ connection: PostgreSQLConnection, _ number: inout Int64,
        until deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) {
        let outcomes: [Outcome]
        do {
            if let unanswered = batch.unanswered {
                if try isMarked(unanswered.number, connection, deadline) { return batch.resume(unanswered.outcomes) }
                batch.unanswered = nil
            }
            number += 1
            outcomes = try write(batch.waiters.map { ChangeCalls($0.change) }, number, connection, deadline)
        } catch {
            if !error.endsConnection {
                _ = try connection.run([PostgreSQLCall(Statements.rollback)], until: deadline)
            }
            throw error
        }
        if outcomes.allSatisfy({ (try? $0.get()) != .committed }) {
            // Nothing to keep: what is refused is refused, whatever becomes of the connection.
            let ended = try? connection.run([PostgreSQLCall(Statements.rollback)], until: deadline)
            batch.resume(outcomes)
            batch.waiters = []
            if ended == nil { throw PostgreSQLFailure(.lost, "the connection was lost") }
            return
        }
        batch.unanswered = Unanswered(number: number, outcomes: outcomes)
        let answer = try connection.run([PostgreSQLCall(Statements.commit)], until: deadline)[0]
        batch.unanswered = nil
        // A transaction that failed unseen answers COMMIT with ROLLBACK.
        guard try answer.get().command == "COMMIT" else {
            throw PostgreSQLFailure(.serialization, "the server took the transaction back")
        }
        batch.resume(outcomes)
    }

    private func isMarked(
        _ number: Int64, _ connection: PostgreSQLConnection, _ deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) -> Bool {
        var look = PostgreSQLCall(Statements.marked)
        look.bind(id)
        let answers = try connection.run(
            [Statements.begin, Statements.turn].map { PostgreSQLCall($0) }, until: deadline)
        for answer in answers { _ = try answer.get() }
        // An exchange of its own: the row is read when the turn has come, not before.
        let ending = try connection.run([look, PostgreSQLCall(Statements.rollback)], until: deadline)
        let rows = try ending[0].get()
        guard rows.count == 1 else { return false }
        return try rows.integer(0, 0) == number
    }

    // MARK: One transaction, open when it returns

    private func write(
        _ changes: [ChangeCalls], _ number: Int64, _ connection: PostgreSQLConnection,
        _ deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) -> [Outcome] {
        let sums = SumStatements.calls(changes)
        let answers = try connection.run(opening(number) + changes.flatMap(\.calls) + sums, until: deadline)
        try checkOpening(answers)
        var judgements: [ChangeCalls.Judgement] = []
        var start = 3
        for change in changes {
            judgements.append(change.judge(answers[start..<start + change.calls.count]))
            start += change.calls.count
        }
        let isWhole = judgements.allSatisfy { $0 == .done(.committed) }
        if changes.count == 1 || isWhole {
            // Of a change that is refused nothing is kept, its sum neither.
            if isWhole { for answer in answers[start...] { _ = try answer.get() } }
            return try judgements.map { judgement throws(PostgreSQLFailure) in try outcome(judgement) }
        }
        _ = try connection.run([PostgreSQLCall(Statements.rollback)], until: deadline)
        return try writeOneByOne(changes, number, connection, deadline)
    }

    /// A savepoint and an exchange for each change.
    private func writeOneByOne(
        _ changes: [ChangeCalls], _ number: Int64, _ connection: PostgreSQLConnection,
        _ deadline: ContinuousClock.Instant
    ) throws(PostgreSQLFailure) -> [Outcome] {
        try checkOpening(try connection.run(opening(number), until: deadline))
        var outcomes: [Outcome] = []
        var closing: [PostgreSQLCall] = []
        for change in changes {
            let calls = closing + [PostgreSQLCall(Statements.savepoint)] + change.calls + SumStatements.calls([change])
            let answers = try connection.run(calls, until: deadline)
            for answer in answers[...closing.count] { _ = try answer.get() }
            let own = answers[(closing.count + 1)...]
            let outcome = try outcome(change.judge(own.prefix(change.calls.count)))
            outcomes.append(outcome)
            let isKept = (try? outcome.get()) == .committed
            if isKept { for answer in own.dropFirst(change.calls.count) { _ = try answer.get() } }
            closing =
                (isKept ? [] : [Statements.rollbackTo]).map { PostgreSQLCall($0) } + [
                    PostgreSQLCall(Statements.release)
                ]
        }
        for answer in try connection.run(closing, until: deadline) { _ = try answer.get() }
        return outcomes
    }

    private func opening(_ number: Int64) -> [PostgreSQLCall] {
        var mark = PostgreSQLCall(Statements.mark)
        mark.bind(id)
        mark.bind(number)
        return [PostgreSQLCall(Statements.begin), PostgreSQLCall(Statements.turn), mark]
    }

    private func checkOpening(_ answers: Answers) throws(PostgreSQLFailure) {
        for answer in answers.prefix(2) { _ = try answer.get() }
        // What came after the closing would be missing at the server that is promoted, and this node remember it.
        guard try answers[2].get().count == 1 else {
            throw PostgreSQLFailure(.unready, "the epoch is closed: another server is about to be promoted")
        }
    }

    /// Throws what may pass when the whole batch is tried again.
    private func outcome(_ judgement: ChangeCalls.Judgement) throws(PostgreSQLFailure) -> Outcome {
        switch judgement {
        case .done(let result): return .success(result)
        case .failed(let failure):
            guard !failure.isHeld else { throw failure }
            return .failure(connector.diagnosis.diagnosed(failure))
        case .skipped: throw PostgreSQLFailure(.serialization, "a statement was skipped")
        }
    }
}
