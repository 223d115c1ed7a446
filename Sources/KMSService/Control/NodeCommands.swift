import AuditTrail
import ControlSocket
import Cryptography
import DatabaseConfiguration
import Diagnostics
import JOSESignature
import KeyManagement
import KeyStore
import MasterKey
import NodeEnrolment
import NodeList
import Recovery
import SignedPolicy
import WireText

/// Commands about the nodes of the cluster: which there are, who comes, who goes (docs/cluster.md).
///
/// Putting a node on the list and taking one off need an officer with the duty `cluster`, whose signature also stands under
/// the list itself: the service holds the list that was signed against the present one with exactly that change. Inviting
/// and draining need the operators' group: an invitation opens nothing without an approval, and a drain can be ended.
enum NodeCommands {
    /// How long a promotion of the new root key waits for the proofs of the nodes that stay.
    private static let promotionSeconds = 20

    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("nodes") { _, _, _, _ in try await nodes(kms) },
            ControlCommand("node-list") { arguments, _, _, _ in
                _ = try ControlArguments(arguments, [])
                await kms.nodes.look()
                return list(kms)
            },
            ControlCommand("node-invite") { arguments, _, peer, _ in
                try await invite(kms, ControlArguments(arguments, ["name"]).text("name"), peer)
            },
            ControlCommand("node-approve", duty: .cluster) { arguments, _, _, _ in
                try await approve(kms, ControlArguments(arguments, ["name", "fingerprint", "list"]))
            },
            ControlCommand("node-remove", duty: .cluster) { arguments, _, _, progress in
                try await remove(kms, ControlArguments(arguments, ["name", "list"]), progress)
            },
            ControlCommand("node-drain") { arguments, _, peer, _ in
                try await drain(kms, ControlArguments(arguments, ["name", "end"]), peer)
            },
        ]
    }

    // MARK: What there is

    private static func list(_ kms: RunningKMS) -> ControlAnswer {
        let book = kms.nodes.book
        return ControlAnswer { json in
            json.member("organisation", kms.configuration.organisation)
            json.member("service", NodeKeeper.service)
            json.member("list", ifPresent: kms.nodes.list?.text)
            json.name("candidates")
            json.beginArray()
            for (name, candidate) in book.candidates.sorted(by: { $0.key < $1.key }) {
                json.beginObject()
                json.member("name", name)
                json.member("key", Base64URL.encode(candidate.publicKey.subjectPublicKeyInfo))
                json.member("fingerprint", candidate.fingerprint.description)
                json.member("origin", candidate.origin.rawValue)
                json.member("since", candidate.since.iso8601)
                json.endObject()
            }
            json.endArray()
        }
    }

    /// The nodes as the list, their leases and the book show them.
    private static func nodes(_ kms: RunningKMS) async throws -> ControlAnswer {
        let state = try await kms.cluster?.cluster()
        let leases = try await kms.cluster?.leases() ?? []
        await kms.nodes.look()
        let own = kms.lease?.standing
        let (list, book) = (kms.nodes.list?.list, kms.nodes.book)
        let listed = (list?.nodes ?? []).filter { $0.service == NodeKeeper.service }
        let names = Set(leases.map(\.node)).union(listed.map(\.name)).union(book.candidates.keys)
        return ControlAnswer { json in
            json.member("node", kms.configuration.node)
            json.member("epoch", own?.epoch ?? state?.epoch ?? 1)
            json.member("site", ifPresent: state?.site)
            json.member("synchronous", state?.promisesSynchronous ?? false)
            if let list { json.member("list", list.version) }
            if let version = kms.nodes.coreVersion { json.member("coreList", version) }
            json.name("nodes")
            json.beginArray()
            for name in names.sorted() {
                json.beginObject()
                json.member("node", name)
                let entry = list?.node(name, of: NodeKeeper.service)
                let candidate = book.candidates[name]
                json.member("listed", entry?.state.rawValue ?? "no")
                json.member("fingerprint", ifPresent: entry?.fingerprint.description)
                json.member("waiting", ifPresent: candidate?.fingerprint.description)
                json.member("drained", book.drained.contains(name))
                if let lease = leases.first(where: { $0.node == name }) { write(lease, state?.epoch, &json) }
                json.endObject()
            }
            json.endArray()
        }
    }

    private static func write(_ lease: NodeLease, _ epoch: Int64?, _ json: inout JSONWriter) {
        json.member("epoch", lease.epoch)
        json.member("release", lease.release)
        json.member("renewals", lease.renewals)
        json.member(
            "ageMilliseconds",
            lease.age.components.seconds * 1000 + lease.age.components.attoseconds / 1_000_000_000_000_000)
        json.member("held", lease.epoch == epoch && lease.age < ReleaseLease.life)
        json.member("synchronous", lease.isSynchronous)
        json.member("removed", lease.isRemoved)
    }

    // MARK: Who comes

    private static func invite(
        _ kms: RunningKMS, _ name: String, _ peer: PeerCredentials
    ) async throws -> ControlAnswer {
        guard let invitations = kms.nodes.invitations else {
            throw DiagnosedError(
                .nodeUnknown, fault: .configuration, "this node works alone on its database", expected: "PostgreSQL",
                hint: "move the key store first: hdsctl migrate")
        }
        await kms.nodes.look()
        guard kms.nodes.list?.list.node(name, of: NodeKeeper.service)?.state != .active else {
            throw DiagnosedError(
                .nodeUnknown, fault: .client, "\(name.quotedForError) is a node already", expected: "a new name",
                hint: "remove it first, if its machine is gone: hdsctl node remove")
        }
        var act = OfficeAct(
            .policy, by: OversightCommands.name(peer), command: "node-invite", rule: "node:node-invite")
        act.detail = name
        try await kms.audit.keep(act, now: .now())
        let (code, expires) = try await invitations.invite(name, now: .now())
        return ControlAnswer { json in
            json.member("name", name)
            json.member("code", code.text)
            json.member("expires", expires.iso8601)
            json.member("cluster", kms.clusterFingerprint)
        }
    }

    private static func approve(_ kms: RunningKMS, _ arguments: ControlArguments) async throws -> ControlAnswer {
        let name = try arguments.text("name")
        await kms.nodes.look()
        guard let candidate = kms.nodes.book.candidates[name] else {
            throw DiagnosedError(
                .nodeUnknown, fault: .client, "no key of \(name.quotedForError) waits for an approval",
                expected: "a node that runs, or one that joined with its one-time code",
                found: kms.nodes.book.candidates.keys.sorted().joined(separator: ", "),
                hint: "start the node, or begin with hdsctl node invite")
        }
        let typed = try arguments.text("fingerprint")
        guard NodeFingerprint(typed) == candidate.fingerprint else {
            throw DiagnosedError(
                .nodeFingerprint, fault: .client, "\(name) has another key than the one that was compared",
                expected: candidate.fingerprint.description, found: typed.quotedForError,
                hint:
                    "read the fingerprint on the machine itself; if it differs from this one, somebody is between: do not "
                    + "approve, and invite anew")
        }
        let next = try await signed(kms, arguments) { (present, next) throws(DiagnosedError) in
            try NodeList.approving(
                NodeList.Node(name: name, service: NodeKeeper.service, publicKey: candidate.publicKey), on: present,
                organisation: next.organisation, issued: next.issued)
        }
        // Before it is on the list: a node that is, can start.
        if candidate.origin == .code {
            try await kms.rootKeys.rotation.wrap(forNode: NodePublicKey(candidate.publicKey))
        }
        try await put(next, kms) { book in
            guard book.candidates[name] == candidate else { throw contended }
            book.candidates[name] = nil
        }
        if try await kms.cluster?.leases().contains(where: { $0.node == name && $0.isRemoved }) == true {
            try await kms.cluster?.setRemoved(false, node: name)
        }
        return ControlAnswer { json in
            json.member("version", next.list.version)
            json.member("name", name)
            json.member("cluster", kms.clusterFingerprint)
            json.member("fingerprint", candidate.fingerprint.description)
            json.member("starts", candidate.origin == .code)
        }
    }

    // MARK: Who goes

    private static func remove(
        _ kms: RunningKMS, _ arguments: ControlArguments, _ progress: ControlProgress
    ) async throws -> ControlAnswer {
        let name = try arguments.text("name")
        guard name != kms.nodes.name else {
            throw DiagnosedError(
                .nodeUnknown, fault: .client, "a node does not remove itself", expected: "another node's name",
                hint: "ask the service of a node that stays")
        }
        await kms.nodes.look()
        let next = try await signed(kms, arguments) { (present, next) throws(DiagnosedError) in
            guard let list = try present?.removing(name, of: NodeKeeper.service, issued: next.issued) else {
                throw DiagnosedError(
                    .nodeUnknown, fault: .client, "the list has no node \(name.quotedForError)",
                    expected: (present?.nodes ?? []).map(\.name).joined(separator: ", "),
                    hint: "see hdsctl node list")
            }
            return list
        }
        // The lease first: it ends within half a second, whatever comes between.
        try await kms.cluster?.setRemoved(true, node: name)
        try await put(next, kms) { book in
            book.candidates[name] = nil
            book.drained.remove(name)
        }
        let rotation = kms.rootKeys.rotation
        let holder = next.list.node(name, of: NodeKeeper.service).map { NodePublicKey($0.publicKey).holder } ?? ""
        let shared = try await rotation.forget(node: name, holder: holder)
        let outcome = await rotate(kms, progress)
        return ControlAnswer { json in
            json.member("version", next.list.version)
            json.member("name", name)
            json.member("sharedMasterKey", ifPresent: shared)
            json.member("rotation", outcome)
            if case .postgresql(let section) = kms.configuration.store.backend { json.member("user", section.user) }
        }
    }

    /// A new root key that the node which went does not know; in words how far it came.
    private static func rotate(_ kms: RunningKMS, _ progress: ControlProgress) async -> String {
        let rotation = kms.rootKeys.rotation
        do {
            let version = try await rotation.generate(
                now: .now(), escrow: kms.escrow.holders(), nodes: kms.nodes.holders)
            progress("version \(version) of the root key is made; the nodes that stay prove it")
            var last: (any Error)?
            for _ in 0..<promotionSeconds {
                do {
                    _ = try await rotation.promote(now: .now(), without: kms.nodes.removed)
                    return "version \(version) of the root key is active; everything is sealed again under it now"
                } catch {
                    last = error
                }
                try await Task.sleep(for: .seconds(1))
            }
            let reason = (last as? DiagnosedError)?.summary ?? "no answer"
            return "version \(version) of the root key is made and not promoted (\(reason)): hdsctl master-key promote"
        } catch {
            let reason = (error as? DiagnosedError).map { "\($0)" } ?? "the store failed"
            return "no new root key (\(reason)): hdsctl master-key generate, then promote"
        }
    }

    private static func drain(
        _ kms: RunningKMS, _ arguments: ControlArguments, _ peer: PeerCredentials
    ) async throws -> ControlAnswer {
        let name = try arguments.text("name")
        let ends = try arguments.optional("end") != nil
        let known = Set(try await kms.cluster?.leases().map(\.node) ?? []).union([kms.nodes.name])
        guard known.contains(name) else {
            throw DiagnosedError(
                .nodeUnknown, fault: .client, "there is no node \(name.quotedForError)",
                expected: known.sorted().joined(separator: ", "), hint: "see hdsctl node list")
        }
        var act = OfficeAct(
            .policy, by: OversightCommands.name(peer), command: "node-drain", rule: "node:node-drain")
        act.detail = name
        act.result = ends ? "ended" : "drained"
        try await kms.audit.keep(act, now: .now())
        try await kms.nodes.register.change { book in
            if ends { book.drained.remove(name) } else { book.drained.insert(name) }
        }
        await kms.nodes.look()
        return ControlAnswer { json in
            json.member("name", name)
            json.member("drained", !ends)
        }
    }

    // MARK: The list

    /// The list that the officer signed, when it is the present one with exactly the change that was asked for.
    private static func signed(
        _ kms: RunningKMS, _ arguments: ControlArguments,
        _ change: (_ present: NodeList?, _ next: NodeList) throws(DiagnosedError) -> NodeList
    ) async throws -> SignedNodeList {
        let next = try kms.nodes.verified(try arguments.text("list", upTo: SignedNodeList.maximumBytes))
        let present = kms.nodes.list
        _ = try next.replaces(present)
        guard try change(present?.list, next.list) == next.list else {
            throw DiagnosedError(
                .nodeListMalformed, fault: .client, "the signed list is not the present one with that change",
                expected: "version \((present?.list.version ?? 0) + 1)", found: "version \(next.list.version)",
                hint: "somebody changed the list meanwhile: give the command again")
        }
        return next
    }

    private static func put(
        _ next: SignedNodeList, _ kms: RunningKMS, _ change: (inout NodeBook) throws -> Void
    ) async throws {
        let present = kms.nodes.list?.text
        try await kms.nodes.register.change { book in
            guard book.list == present else { throw contended }
            try change(&book)
            book.list = next.text
        }
        await kms.nodes.look()
    }

    private static let contended = DiagnosedError(
        .storeBusy, fault: .store, "somebody else changes the nodes at the same time", hint: "give the command again")
}

extension NodeKeeper {
    /// Public keys of the other nodes on the list: for those that do not work with the key-encryption key of this one.
    var holders: [String: any RootKeyHolder] {
        let others = (list?.list.nodes ?? []).filter {
            $0.service == Self.service && $0.state == .active && $0.name != name
        }
        return Dictionary(
            others.map { ($0.name, NodePublicKey($0.publicKey)) }, uniquingKeysWith: { first, _ in first })
    }
}

extension DiagnosedError.Code {
    static let nodeUnknown: Self = "node-unknown"
    /// The key that waits is not the one whose fingerprint an officer gave.
    static let nodeFingerprint: Self = "node-fingerprint"
}
