import Cryptography
import KMSProtocol
import KeyManagement
import KeyStore
import LinkProtocol
import WireText

/// A rule of the world that is switched off, to see that the model notices.
enum Mutation: String, CaseIterable, Sendable {
    /// A lease never ends.
    case noLease
    /// Nothing is in the replay ledger.
    case noLedger
    /// Answers of a node leave in any order.
    case noOrder
    /// A renewal brings no freezes along.
    case noFreeze
    /// Nodes tell the core no epoch.
    case noEpoch
    /// A standby that is said to have everything lacks the last commits.
    case lossyStandby
}

/// What a client asked for by one string.
struct Asked {
    enum Purpose: Hashable, CustomStringConvertible {
        case ping
        case createKey
        case createSpace(key: String, members: [String])
        case read(key: String)
        case add(user: String, space: String)
        case remove(user: String, space: String)

        var description: String {
            switch self {
            case .ping: "ping"
            case .createKey: "create key"
            case .createSpace(_, let members): "create space with \(members.count)"
            case .read: "read key"
            case .add(let user, _): "add \(user.prefix(4))"
            case .remove(let user, _): "remove \(user.prefix(4))"
            }
        }
        var releasesKey: Bool {
            switch self {
            case .createKey, .read: true
            default: false
            }
        }
        var isMutating: Bool {
            switch self {
            case .ping, .read: false
            default: true
            }
        }
    }

    let name: String
    let device: String
    let user: String
    /// The session, by the header of its strings.
    let lane: ArraySlice<UInt8>
    let purpose: Purpose
    let sent: Int64
    /// Opens an answer: status, and nil for one that does not open.
    let status: ([UInt8]) -> Int?
    /// The core's id of it, the first one of this run of the core.
    var order: UInt64?
    var firstFinal: [UInt8]?
    var effects = 0
    /// An answer of it went to the device.
    var isAnswered = false
    var isAcknowledged = false
}

/// The properties that hold whatever happens, in plain values: what is seen of the world goes in, violations come out.
///
/// 1. A string has at most one effect, and every final answer to it has the octets of the first.
/// 2. What was acknowledged is in the database, unless a promotion lost it and said so.
/// 3. A key leaves a node only under a lease that was sent for less than 500 ms ago, and none later than 500 ms after the
///    commit of a freeze that covers it.
/// 4. No answer passes the core from a lower epoch than one that it has accepted.
/// 5. Effects and answers of one session are in the order of its strings.
/// 6. A read finds what was true at some moment while it was under way.
/// 7. Queues stay within their bounds, credit is never exceeded.
/// 8. After the world has healed every request is answered in time.
final class Model: @unchecked Sendable {  // only the thread of the run uses it
    struct Violation: Error, CustomStringConvertible {
        let rule: String
        let description: String
    }

    let scheduler: Scheduler
    let trace: Trace
    private(set) var violations: [Violation] = []
    private var strings: [[UInt8]: Asked] = [:]
    private var byName = 0
    private var numbers: [String: Int] = [:]
    /// By node, when its last renewals were sent.
    private var grants: [String: [(sent: Int64, server: String)]] = [:]
    /// By server, when everything was frozen, and when that ended.
    private var freezes: [String: [(from: Int64, until: Int64?)]] = [:]
    private(set) var fence: Int64 = 1
    /// By server, who is in a space from when on, and since when not.
    private var membership: [String: [Membership: [(from: Int64, until: Int64?)]]] = [:]
    private var lastAnswered: [ArraySlice<UInt8>: UInt64] = [:]
    private var lastEffect: [String: [ArraySlice<UInt8>: UInt64]] = [:]
    private var lost: Set<[UInt8]> = []
    private var freezeIsOn: [String: Bool] = [:]
    /// By the sealed list, whether it freezes.
    private var freezeValues: [[UInt8]: Bool] = [:]
    private let names = KMSNames(host: World.host)
    private(set) var counts: [String: Int] = [:]
    /// Which server counts.
    var primary = "a"

    struct Membership: Hashable {
        let user: String
        let space: String
    }

    init(_ scheduler: Scheduler, _ trace: Trace) {
        self.scheduler = scheduler
        self.trace = trace
    }

    func count(_ what: String) { counts[what, default: 0] += 1 }

    func violated(_ rule: String, _ text: String) {
        trace.note("VIOLATION \(rule): \(text)")
        violations.append(Violation(rule: rule, description: "\(rule): \(text)"))
    }

    static func lane(_ text: [UInt8]) -> ArraySlice<UInt8> { text.prefix { $0 != UInt8(ascii: ".") } }

    // MARK: Strings

    func sent(
        _ text: [UInt8], _ purpose: Asked.Purpose, by client: String, _ user: String,
        _ status: @escaping ([UInt8]) -> Int?
    ) -> String {
        byName += 1
        let name = "\(client)#\(byName)"
        strings[SHA256.hash(text)] = Asked(
            name: name, device: client, user: user, lane: Self.lane(text), purpose: purpose, sent: scheduler.now,
            status: status)
        trace.note("\(client) sends \(name): \(purpose)\(about(purpose))")
        count("sent")
        return name
    }

    /// Which key or space, by a number in the order in which they came: ids are other ones in every run.
    private func about(_ purpose: Asked.Purpose) -> String {
        let uri: String
        switch purpose {
        case .ping, .createKey: return ""
        case .createSpace(let key, _), .read(let key): uri = key
        case .add(_, let space), .remove(_, let space): uri = space
        }
        let number = numbers[uri] ?? numbers.count + 1
        numbers[uri] = number
        return " of \(number)"
    }

    func name(_ digest: [UInt8]) -> String { strings[digest]?.name ?? "handshake" }

    /// The core delivered it under that id, the first time or again.
    func delivered(_ digest: [UInt8], id: UInt64) {
        guard let asked = strings[digest], asked.order == nil else { return }
        strings[digest]?.order = id
    }

    /// The core died with all that it had.
    func coreForgot() {
        for digest in strings.keys { strings[digest]?.order = nil }
    }

    // MARK: Commits

    func committed(_ server: Database.Server, _ change: StoreChange) {
        for case .putSetting(FreezeBoard.setting, let value) in change.writes { frozen(server.name, value) }
        guard let digest = change.digest, let asked = strings[digest] else { return }
        let hasEffect = change.writes.contains {
            switch $0 {
            case .insertLedger, .advanceSession: false
            default: true
            }
        }
        trace.note("\(server.name) commits \(asked.name)\(hasEffect ? "" : ", a refusal")")
        // Of a primary that does not count any more: nobody was promised that it lasts.
        if server.name != primary { lost.insert(digest) }
        guard hasEffect else { return }
        took(server.name, digest, asked, change)
    }

    private func took(_ server: String, _ digest: [UInt8], _ asked: Asked, _ change: StoreChange) {
        if server == primary {
            strings[digest]?.effects += 1
            if asked.effects > 0 { violated("once", "\(asked.name) took effect twice") }
        }
        // A string whose answer the device has may come again, and have effect where the first one had none (500) or was lost
        // with a primary: what followed it is no reason to refuse it.
        if let order = asked.order, !asked.isAnswered {
            if let last = lastEffect[server]?[asked.lane], last > order {
                violated("order", "\(asked.name) took effect after a later string of its session")
            }
            lastEffect[server, default: [:]][asked.lane] = max(order, lastEffect[server]?[asked.lane] ?? 0)
        }
        switch asked.purpose {
        case .createSpace(let key, let members):
            for case .insertResource(let resource) in change.writes {
                let space = names.resource(resource.id)
                // One that an old primary makes as well is nobody's.
                if server == primary || spaces[key] == nil { spaces[key] = Space(uri: space, owner: asked.user) }
                for user in members {
                    membership[server, default: [:]][.init(user: user, space: space)] = [(scheduler.now, nil)]
                }
            }
        case .add(let user, let space):
            membership[server, default: [:]][.init(user: user, space: space), default: []].append((scheduler.now, nil))
        case .remove(let user, let space):
            guard let last = membership[server]?[.init(user: user, space: space)]?.indices.last else { return }
            membership[server]?[.init(user: user, space: space)]?[last].until = scheduler.now
        default: break
        }
    }

    func isKnown(_ digest: [UInt8]) -> Asked? { strings[digest] }

    // MARK: Freezes and leases

    private func frozen(_ server: String, _ value: [UInt8]) {
        // An order changes what was; what is put back after a loss is what it was.
        let isOn = freezeValues[value] ?? !(freezeIsOn[server] ?? false)
        freezeValues[value] = isOn
        guard isOn != freezeIsOn[server] ?? false else { return }
        freezeIsOn[server] = isOn
        trace.note("\(server) commits \(isOn ? "a freeze" : "its end")")
        if isOn {
            freezes[server, default: []].append((scheduler.now, nil))
        } else if let last = freezes[server]?.indices.last {
            freezes[server]?[last].until = scheduler.now
        }
        count("freezes")
    }

    func granted(_ node: String, _ sent: Int64, _ server: String) {
        grants[node, default: []].append((sent, server))
        if grants[node]?.count ?? 0 > 16 { grants[node]?.removeFirst(8) }
    }

    /// An answer is handed to the socket.
    func left(_ node: String, _ digest: [UInt8], _ text: [UInt8]) {
        guard let asked = strings[digest] else { return }
        let now = scheduler.now
        trace.note("\(node) answers \(asked.name)")
        if asked.purpose.releasesKey {
            let valid = grants[node]?.last { now < $0.sent + .milliseconds(500) }
            let server = grants[node]?.last?.server ?? primary
            let isFrozen = freezes[server]?.contains { freeze in
                freeze.from + .milliseconds(500) <= now && freeze.until.map { now < $0 } ?? true
            }
            if valid == nil || isFrozen == true, let status = asked.status(text), (200..<300).contains(status) {
                if valid == nil { violated("lease", "\(node) let a key leave for \(asked.name) without a lease") }
                if isFrozen == true { violated("freeze", "\(node) let a key leave for \(asked.name) under a freeze") }
            }
        }
        guard asked.purpose.isMutating, asked.firstFinal != text else { return }
        guard let status = asked.status(text), status != 401, status != 429, status < 500 else { return }
        // An answer with keys stays back while they are frozen, the first one too: a copy of the string may bring it later.
        if status == 403, asked.purpose.releasesKey, wasFrozen(since: asked.sent) { return }
        if asked.firstFinal != nil, !lost.contains(digest) {
            violated("first answer", "\(asked.name) has two different final answers")
        }
        strings[digest]?.firstFinal = text
    }

    // MARK: The core

    func accepted(epoch: Int64) {
        if epoch > fence { trace.note("the core accepts epoch \(epoch)") }
        fence = max(fence, epoch)
    }

    /// An answer passes the core on its way to the device.
    func passed(_ digest: [UInt8], id: UInt64, epoch: Int64, from node: String) {
        guard let asked = strings[digest] else { return }
        trace.note("the core passes \(asked.name) on")
        count("answers")
        if epoch < fence { violated("epoch", "\(asked.name) was answered from epoch \(epoch), \(fence) was accepted") }
        strings[digest]?.isAnswered = true
        if let last = lastAnswered[asked.lane], last > id {
            violated("order", "\(asked.name) was answered after a later string of its session")
        }
        lastAnswered[asked.lane] = max(id, lastAnswered[asked.lane] ?? 0)
    }

    func bounded(_ what: String, _ count: Int, _ limit: Int) {
        if count > limit { violated("bounds", "\(what): \(count), at most \(limit)") }
    }

    // MARK: Answers at the client

    func acknowledged(_ digest: [UInt8], status: Int) {
        guard let asked = strings[digest], !asked.isAcknowledged else { return }
        let now = scheduler.now
        trace.note("\(asked.device) has \(status) for \(asked.name)")
        count("\(status)")
        if asked.purpose.isMutating, (200..<300).contains(status) { strings[digest]?.isAcknowledged = true }
        guard case .read(let key) = asked.purpose, let space = spaces[key], asked.user != space.owner else { return }
        let place = Membership(user: asked.user, space: space.uri)
        let histories = (primary == "a" ? ["a"] : ["a", "b"]).map { membership[$0]?[place] ?? [] }
        let wasIn = histories.contains { spans in
            spans.contains { $0.from <= now && $0.until.map { $0 >= asked.sent } ?? true }
        }
        let wasOut = histories.contains { spans in
            !spans.contains { $0.from <= asked.sent && $0.until.map { $0 > now } ?? true }
        }
        if status == 200, !wasIn { violated("read", "\(asked.name) was answered 200 by who is not in the space") }
        if status == 403, !wasOut, !wasFrozen(since: asked.sent) {
            violated("read", "\(asked.name) was answered 403 by who is in the space")
        }
    }

    /// A node may know of the end of a freeze a renewal later.
    private func wasFrozen(since sent: Int64) -> Bool {
        freezes.values.joined().contains { $0.until.map { $0 + .seconds(7) >= sent } ?? true }
    }

    struct Space {
        let uri: String
        let owner: String
    }
    private(set) var spaces: [String: Space] = [:]

    // MARK: Promotion

    /// Server `b` has what the log keeps; the rest is lost, and the operator was told so.
    func promoted(kept: [Database.Commit], lost commits: [Database.Commit]) {
        trace.note("b is promoted with \(kept.count) commits, \(commits.count) are lost")
        primary = "b"
        for case let digest? in commits.map(\.change.digest) {
            lost.insert(digest)
            strings[digest]?.effects = 0
            strings[digest]?.isAcknowledged = false
        }
        count("promotions")
        if !commits.isEmpty { count("lossy promotions") }
        let since = commits.first?.time ?? .max
        // What was so until then is so there, too; what came later is not.
        membership["b"] = membership["a"]?.mapValues { spans in
            spans.filter { $0.from < since }.map { ($0.from, $0.until.flatMap { $0 < since ? $0 : nil }) }
        }
        freezes["b"] = freezes["a"]?.filter { $0.from < since }.map {
            ($0.from, $0.until.flatMap { $0 < since ? $0 : nil })
        }
        freezeIsOn["b"] = freezes["b"]?.last.map { $0.until == nil } ?? false
        lastEffect["b"] = nil
    }

    func isLost(_ digest: [UInt8]) -> Bool { lost.contains(digest) }

    /// What every client was told has to be there.
    func finish(_ server: Database.Server) async throws {
        var present: Set<[UInt8]> = []
        for case let digest? in server.log.map(\.change.digest) { present.insert(digest) }
        for (digest, asked) in strings.sorted(by: { $0.value.sent < $1.value.sent }) where asked.isAcknowledged {
            guard !lost.contains(digest) else { continue }
            let entry = try await server.memory.ledgerEntry(digest)
            if entry == nil || !present.contains(digest) {
                violated("durable", "\(asked.name) was acknowledged and is not in the database")
            }
        }
    }
}
