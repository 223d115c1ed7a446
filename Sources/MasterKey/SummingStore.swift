package import KeyStore
import Synchronization
import WireText

/// A key store that keeps account: each change also adds to this node's sum over the rows that it wrote.
///
/// A term stands for one row: a keyed code of its kind, id and version. It is added when the row comes, taken off when it
/// goes, both when its version changes, in the change's own transaction. The sums of all writers therefore are the sum
/// over all rows, at every moment and in every consistent view. Covered are keys, resources, authorizations and settings
/// (`docs/keys-at-rest.md` says why nothing else is).
///
/// What the own row must say is known here: changes whose outcome is known are counted, and `verify` holds the row
/// against that. Nobody else writes it, so a difference is somebody's who writes into the database.
package final class SummingStore: KeyStore {
    package enum Standing: Sendable, Equatable {
        /// The row says what this node did.
        case holds(WriterSum)
        /// Changes whose outcome was not known took effect: the row counts from now on, and a scan has to show that it
        /// fits.
        case adopted(WriterSum)
        case differs(expected: WriterSum, found: WriterSum)
    }

    private struct State {
        /// What this node did, as far as it knows.
        var known: WriterSum
        var underWay = 0
        /// When changes began whose outcome is not known.
        var unknown: [ContinuousClock.Instant] = []
        var isHeld = false
        var held: [CheckedContinuation<Void, Never>] = []
        var untilIdle: CheckedContinuation<Void, Never>?
    }

    /// How long after its error a change may still take effect: longer than any server keeps a lost transaction.
    private static let grace = Duration.seconds(120)

    let inner: any KeyStore
    private let ring: SealRing
    package let writer: String
    private let state: Mutex<State>

    /// - Parameter writer: of nobody else, at no time.
    package init(_ inner: any KeyStore, ring: SealRing, writer: String) {
        (self.inner, self.ring, self.writer) = (inner, ring, writer)
        state = Mutex(State(known: WriterSum(writer: writer, counter: 0, sum: RowSum())))
    }

    /// What the own row says if every change took effect whose success was told.
    package var known: WriterSum { state.withLock { $0.known } }

    /// Takes the row as it is, from now on: at a start, and when officers said so.
    package func adopt(_ row: WriterSum?) {
        let row = row ?? WriterSum(writer: writer, counter: 0, sum: RowSum())
        state.withLock { state in
            state.known = row
            state.unknown = []
        }
    }

    // MARK: Commits

    package func commit(_ change: StoreChange) async throws -> CommitResult {
        try await commit(change, adding: RowSum())
    }

    /// - Parameter correction: added to the own sum as well, for rows that are in nobody's.
    package func commit(_ change: StoreChange, adding correction: RowSum) async throws -> CommitResult {
        var account = Account(change)
        try await account.read(change, inner)
        let sum = try account.sum(ring) + correction
        guard account.isCovered || correction != RowSum() else { return try await inner.commit(change) }
        var change = change
        change.expectations += account.expectations
        change.sum = SumChange(writer: writer, sum: sum)
        await enter()
        let began = ContinuousClock.now
        do {
            let result = try await inner.commit(change)
            leave { state in
                guard result == .committed else { return }
                state.known.counter &+= 1
                state.known.sum += sum
            }
            return result
        } catch {
            leave { $0.unknown.append(began) }
            throw error
        }
    }

    private func enter() async {
        await withCheckedContinuation { continuation in
            let mayGo = state.withLock { state in
                guard !state.isHeld else {
                    state.held.append(continuation)
                    return false
                }
                state.underWay += 1
                return true
            }
            if mayGo { continuation.resume() }
        }
    }

    private func leave(_ body: (inout State) -> Void) {
        let idle = state.withLock { state -> CheckedContinuation<Void, Never>? in
            body(&state)
            state.underWay -= 1
            guard state.underWay == 0 else { return nil }
            defer { state.untilIdle = nil }
            return state.untilIdle
        }
        idle?.resume()
    }

    // MARK: The own row

    /// Holds new changes up until those under way have ended and the row was read: for about as long as one of them takes.
    /// One call at a time.
    package func verify() async throws -> Standing {
        await hold()
        defer { release() }
        let found = try await ownRow()
        return state.withLock { state in
            let expected = state.known
            let latest = ContinuousClock.now - Self.grace
            let unknown = state.unknown.count
            state.unknown.removeAll { $0 < latest }
            if found == expected { return .holds(found) }
            let more = found.counter &- expected.counter
            guard more > 0, more <= Int64(unknown) else { return .differs(expected: expected, found: found) }
            state.known = found
            state.unknown.removeFirst(min(Int(more), state.unknown.count))
            return .adopted(found)
        }
    }

    /// Takes the row as it is, from now on, while nothing is under way.
    package func adoptRow() async throws -> WriterSum {
        await hold()
        defer { release() }
        let found = try await ownRow()
        adopt(found)
        return found
    }

    /// What rows say that were read without holding anybody up; nil when something was under way meanwhile.
    package func verifyIfIdle(_ rows: [WriterSum], readAfter before: WriterSum) -> Standing? {
        let found = rows.first { $0.writer == writer } ?? WriterSum(writer: writer, counter: 0, sum: RowSum())
        // Fewer than are known to have taken effect, or as many and others.
        if found.counter < before.counter || (found.counter == before.counter && found.sum != before.sum) {
            return .differs(expected: before, found: found)
        }
        return found == before ? .holds(found) : nil
    }

    private func ownRow() async throws -> WriterSum {
        try await inner.rowSums().first { $0.writer == writer }
            ?? WriterSum(writer: writer, counter: 0, sum: RowSum())
    }

    private func hold() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                state.isHeld = true
                guard state.underWay > 0 else { return true }
                state.untilIdle = continuation
                return false
            }
            if isIdle { continuation.resume() }
        }
    }

    private func release() {
        let held = state.withLock { state in
            state.isHeld = false
            state.underWay += state.held.count
            defer { state.held = [] }
            return state.held
        }
        for continuation in held { continuation.resume() }
    }
}

/// What a change does to the rows that are summed.
private struct Account {
    private struct Row: Hashable {
        let kind: RecordKind
        let id: String
    }

    /// Versions before and behind the change; nil: no such row.
    private var before: [Row: Int64?] = [:]
    private var after: [Row: Int64?] = [:]
    private var erased: [String] = []
    /// Settings that are put without an expectation of what they replace.
    private var unexpected: [String] = []
    private(set) var expectations: [StoreExpectation] = []

    var isCovered: Bool { !before.isEmpty || !erased.isEmpty }

    init(_ change: StoreChange) {
        for write in change.writes {
            switch write {
            case .insertKey(let record): note(.key, record.id, nil, record.version)
            case .updateKey(let record): note(.key, record.id, record.version - 1, record.version)
            case .eraseKey(let id, let version): note(.key, id, version, nil)
            case .insertResource(let record): note(.resource, record.id, nil, record.version)
            case .updateResource(let record): note(.resource, record.id, record.version - 1, record.version)
            case .insertAuthorization(let record): note(.authorization, record.id, nil, record.version)
            case .updateAuthorization(let record): note(.authorization, record.id, record.version - 1, record.version)
            case .eraseAuthorization(let id, let version): note(.authorization, id, version, nil)
            case .eraseResource(let id, let version):
                note(.resource, id, version, nil)
                erased.append(id)
            case .putSetting(let name, let value): put(name, value, change)
            case .insertSession, .deleteSession, .advanceSession, .insertLedger, .insertSessionKEK, .insertRootKey,
                .updateRootKey, .deleteRootKey, .reseal, .purgeExpired, .insertErasableKey:
                break
            }
        }
    }

    private mutating func note(_ kind: RecordKind, _ id: String, _ old: Int64?, _ new: Int64?) {
        let row = Row(kind: kind, id: id)
        if before[row] == nil { before[row] = .some(old) }
        after[row] = .some(new)
    }

    private mutating func put(_ name: String, _ value: [UInt8], _ change: StoreChange) {
        var old: Int64?
        var isExpected = false
        for case .setting(name, let expected) in change.expectations {
            old = expected.map(SealedTable.settingVersion)
            isExpected = true
        }
        if !isExpected { unexpected.append(name) }
        note(.setting, name, old, SealedTable.settingVersion(value))
    }

    /// Reads what the change takes away without naming it, and expects that it still is so.
    mutating func read(_ change: StoreChange, _ store: any KeyStore) async throws {
        for name in unexpected {
            let value = try await store.setting(name)
            before[Row(kind: .setting, id: name)] = .some(value.map(SealedTable.settingVersion))
            expectations.append(.setting(name: name, value: value))
        }
        for id in erased {
            let keys = try await store.keys(ofResource: id)
            let grants = try await store.authorizations(ofResource: id, includingRemoved: true)
            for (kind, id, version) in keys.map({ (RecordKind.key, $0.id, $0.version) })
                + grants.map({ (RecordKind.authorization, $0.id, $0.version) })
            {
                let row = Row(kind: kind, id: id)
                if before[row] == nil { before[row] = .some(version) }
                after[row] = .some(nil)
            }
            let versions = keys.map(\.version) + grants.map(\.version)
            expectations.append(
                .contents(resource: id, rows: Int64(versions.count), versions: versions.reduce(0, +)))
        }
    }

    func sum(_ ring: SealRing) throws -> RowSum {
        var sum = RowSum()
        for (row, version) in before {
            guard let version else { continue }
            sum -= ring.term(row.kind, id: row.id, version: version)
        }
        for (row, version) in after {
            guard let version else { continue }
            sum += ring.term(row.kind, id: row.id, version: version)
        }
        return sum
    }
}

extension SealedTable {
    /// The version in front of a setting that has one, else 1.
    package static func settingVersion(_ value: [UInt8]) -> Int64 {
        guard SealedTable.settings.offset(in: value) == settingOffset else { return 1 }
        return value.prefix(settingOffset).reduce(Int64(0)) { $0 << 8 | Int64($1) }
    }
}
