import CoreLink
import Diagnostics
import KeyStore
import LinkedService
import MasterKey
import NodeEnrolment
import NodeList
import ServiceLifecycle
import ServiceRuntime
import SignedPolicy
import Synchronization
import WireText

/// Keeps this node's part in the list of nodes: its key, the newest signed list, and what follows from both.
///
/// Rules:
/// 1. A list counts when an enrolled officer with the duty `cluster` signed it for this organisation, and its version is
///    above every one that this node has seen. The highest lies in a file of the data folder as well: a database that was
///    put back gets it again, for whoever has a list may pass it on.
/// 2. A newer list goes to the core at once, and the link is made anew where it changes how this node stands.
/// 3. A key of this node that is on no list waits in the book for an officer.
/// 4. A node that an operator drains answers what it has and makes no link until he ends that.
final class NodeKeeper: Service {
    static let check = HealthCheck("nodes", "this node on the list of nodes")
    static let service = "kms"
    private static let file = "node-list"

    /// How this node stands on the list.
    enum Standing: String, Sendable, CaseIterable {
        case noList = "no list"
        case active
        case removed
        case unlisted = "not on the list"
        case otherKey = "on the list with another key"
    }

    private struct State {
        /// In force.
        var list: SignedNodeList?
        /// What the file has; a floor, also while its signer is not enrolled.
        var floor: NodeList?
        var book = NodeBook()
        var trouble: DiagnosedError?
    }

    let key: NodeKey
    let name: String
    let register: NodeRegister
    private let organisation: String
    private let folder: String
    private let officers: @Sendable () -> OfficerRoster
    /// Nil: one process has the store, and nobody joins.
    let invitations: Invitations?
    private let links: LinkHolder
    private let health: HealthRegistry
    private let events: any EventRecorder
    private let state: Mutex<State>

    /// What it stands on.
    struct Parts {
        let organisation: String
        let folder: String
        let officers: @Sendable () -> OfficerRoster
        let invitations: Invitations?
        let links: LinkHolder
        let health: HealthRegistry
        let events: any EventRecorder
    }

    init(_ register: NodeRegister, key: NodeKey, name: String, _ parts: Parts) throws {
        (self.register, self.key, self.name) = (register, key, name)
        (organisation, folder, officers) = (parts.organisation, parts.folder, parts.officers)
        (links, health, events, invitations) = (parts.links, parts.health, parts.events, parts.invitations)
        let kept = try NodeListFile.read(parts.folder + "/" + Self.file)
        state = Mutex(State(floor: kept.flatMap { SignedNodeList.claimed($0) }))
        if let kept { _ = try? take(kept) }
        health.declare(Self.check)
    }

    /// The list in force.
    var list: SignedNodeList? { state.withLock { $0.list } }
    var book: NodeBook { state.withLock { $0.book } }
    /// The version that the core went by when it welcomed this node; nil where it keeps none.
    var coreVersion: Int64? { links.link?.state.coreNodeList }
    /// Names that the list has as removed.
    var removed: Set<String> {
        Set((list?.list.nodes ?? []).filter { $0.service == Self.service && $0.state == .removed }.map(\.name))
    }

    var standing: Standing {
        guard let list else { return .noList }
        guard let entry = list.list.node(name, of: Self.service) else { return .unlisted }
        guard entry.state == .active else { return .removed }
        return entry.publicKey == key.publicKey ? .active : .otherKey
    }

    func run() async throws {
        await recurring(every: .seconds(1)) {
            await self.look()
            await self.answerNewMachines()
        }
    }

    /// Takes over what is new in the book. A store that is away is told by its own check.
    func look() async {
        guard let book = try? await register.book() else { return }
        state.withLock { $0.book = book }
        links.link?.setHeld(book.drained.contains(name))
        do {
            try await compare(book)
            state.withLock { $0.trouble = nil }
        } catch {
            let known = (error as? DiagnosedError) ?? DiagnosedError(.storeFailed, fault: .store, "the store failed")
            state.withLock { $0.trouble = known }
        }
        report()
    }

    private func answerNewMachines() async {
        for outcome in (try? await invitations?.answer(now: .now())) ?? [] {
            guard case .refused(let node, let reason) = outcome else { continue }
            events.record(
                .nodeJoinRefused, [.node: Loggable(reviewed: node), .reason: Loggable(reviewed: reason)])
        }
    }

    /// Takes a list that somebody hands in when it counts and is newer; whether it was.
    private func take(_ text: String) throws(DiagnosedError) -> Bool {
        let next = try verified(text)
        let before = standing
        var wasKnown = false
        let isNew = try state.withLock { (state) throws(DiagnosedError) in
            wasKnown = state.floor == next.list
            if let floor = state.floor, next.list.version < floor.version {
                throw DiagnosedError(
                    .nodeListRollback, fault: .store, "the list of nodes is older than one that was seen",
                    expected: "version \(floor.version)", found: "version \(next.list.version)",
                    hint: "somebody put back an old row; the newer list is written again, see hdsctl node list")
            }
            guard try next.replaces(state.list) else { return false }
            state.list = next
            return true
        }
        guard isNew, !wasKnown else { return isNew }
        try NodeListFile.write(text, to: folder + "/" + Self.file)
        state.withLock { $0.floor = next.list }
        events.record(
            .nodeListTaken,
            [
                .detail: "\(next.list.version): \(reviewed: Self.sentence(next.list))",
                .fingerprint: Loggable(reviewed: next.signer),
            ])
        links.link?.publishNodeList()
        if standing != before { links.link?.reconnect() }
        return true
    }

    /// Checked against the officers as they are enrolled now.
    func verified(_ text: String) throws(DiagnosedError) -> SignedNodeList {
        let roster = officers()
        return try SignedNodeList(verifying: text, of: organisation) { kid in
            roster[kid].flatMap { $0.duties.contains(.cluster) ? $0.publicKey : nil }
        }
    }

    private func compare(_ book: NodeBook) async throws {
        if let text = book.list, text != list?.text {
            do throws(DiagnosedError) {
                _ = try take(text)
            } catch {
                guard error.code == .nodeListRollback else { throw error }
                try await restore()
            }
        } else if book.list == nil {
            try await restore()
        }
        guard standing != .active, book.candidates[name]?.publicKey != key.publicKey else { return }
        let candidate = NodeBook.Candidate(publicKey: key.publicKey, origin: .running, since: .now())
        try await register.change { $0.candidates[name] = candidate }
    }

    /// The book lost the list, or has an older one: it gets back the one that is in force.
    private func restore() async throws {
        guard let list else { return }
        var isDone = false
        try await register.change { book in
            let theirs = book.list.flatMap { SignedNodeList.claimed($0) }
            isDone = theirs.map { $0.version < list.list.version } ?? true
            if isDone { book.list = list.text }
        }
        if isDone {
            events.record(
                .nodeListTaken, [.detail: "\(list.list.version) written back: the database had none or an older"])
        }
    }

    private func report() {
        let (trouble, list) = state.withLock { ($0.trouble, $0.list) }
        let standing = standing
        switch standing {
        case .active, .noList:
            health.alarms.clear(.nodeUnlisted, about: "list", "the list has this node, or there is none")
        case .removed, .unlisted, .otherKey:
            health.alarms.raise(
                .nodeUnlisted, about: "list",
                "\(reviewed: name) is \(standing), version \(list?.list.version ?? 0); its key is \(reviewed: key.nodeFingerprint.description)"
            )
        }
        if let trouble { return health.report(Self.check, .warn("\(trouble)", fix: "see hdsctl node list")) }
        guard let list else { return health.report(Self.check, .ok("there is no list of nodes")) }
        health.report(
            Self.check,
            standing == .active
                ? .ok("version \(list.list.version) of the list has this node")
                : .warn("this node is \(standing)", fix: "let an officer approve it: hdsctl node approve"))
    }

    private static func sentence(_ list: NodeList) -> String {
        let active = list.nodes.filter { $0.state == .active }.map(\.name).joined(separator: ", ")
        let removed = list.nodes.filter { $0.state == .removed }.map(\.name).joined(separator: ", ")
        return "nodes \(active.isEmpty ? "none" : active)" + (removed.isEmpty ? "" : "; removed \(removed)")
    }
}
