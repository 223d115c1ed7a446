import AuditTrail
import ControlSocket
import Diagnostics
import HardwareToken
import KeyManagement
import KeyStore
import MasterKey
import Recovery
import ServiceRuntime
import SignedPolicy
import WireText

/// Commands that change the root key and the key-encryption key while the KMS works.
///
/// A rotation's steps up to its end, and taking them back, need the operators' group: each of them can be undone and none
/// of them lets anybody read or lose anything. What destroys, and what wraps the root keys for another key-encryption
/// key (who has that key and a copy of the database has everything), needs an officer with the duty `erasure`, and a
/// second one unless the policy says otherwise.
enum MasterKeyCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        let rotation = kms.rootKeys.rotation
        return [
            ControlCommand("master-key-status") { arguments, _, _, _ in
                _ = try ControlArguments(arguments, [])
                return try await status(kms)
            },
            ControlCommand("master-key-certificate") { arguments, _, _, _ in
                _ = try ControlArguments(arguments, [])
                guard let file = try await kms.rootKeys.certificate() else {
                    throw DiagnosedError(
                        .subjectUnknown, fault: .client, "there is no certificate of a rotation yet",
                        hint: "it is made within seconds after the old version was retired")
                }
                return ControlAnswer(result: file)
            },
            step("master-key-generate", kms) {
                let version = try await rotation.generate(
                    now: .now(), escrow: kms.escrow.holders(), nodes: kms.nodes.holders)
                return "version \(version) made; it seals nothing yet"
            },
            step("master-key-promote", kms) {
                try await
                    "version \(rotation.promote(now: .now(), without: kms.nodes.removed)) is active; everything else is sealed again now"
            },
            step("master-key-retire", kms) {
                guard let old = try await rotation.retire(now: .now()) else {
                    throw DiagnosedError(
                        .rotationRefused, fault: .client, "nothing can be retired",
                        expected: "an old version under which nothing stands",
                        hint: "hdsctl master-key status says how much is left")
                }
                return "version \(old) is retired: nothing stands under it"
            },
            step("master-key-undo", kms) {
                switch try await rotation.undo(now: .now()) {
                case .destruction(let version): "version \(version) is not destroyed"
                case .promotion(let version): "the promotion of version \(version) is taken back"
                case .generation(let version): "version \(version) is deleted; nothing was sealed under it"
                }
            },
            ControlCommand("master-key-destroy-review") { arguments, _, _, _ in
                let review = try await DestructionReview.now(of: try version(arguments), kms)
                return ControlAnswer { review.write(&$0) }
            },
            signed("master-key-destroy", kms) { arguments in
                let version = try version(arguments)
                let review = try await DestructionReview.now(of: version, kms)
                if let refusal = review.refusal { throw refusal }
                let due = try await rotation.destroy(
                    version, window: kms.configuration.rootKey.undoWindow, now: .now())
                let dying = review.affected.filter(\.dies).map(\.file)
                return "version \(version) will be destroyed at \(due); until then undo takes it back"
                    + (dying.isEmpty ? "" : "; with it die \(dying.joined(separator: ", "))")
            },
            signed("master-key-change-kek", kms) { arguments in
                let kek = try newMasterKey(arguments).open(.ofProcess)
                try await rotation.add(kek)
                return
                    "all versions are wrapped by \(kek.fingerprint) as well; restart the nodes with it, then --finish"
            },
            signed("master-key-change-kek-finish", kms) { arguments in
                _ = try ControlArguments(arguments, [])
                try await rotation.dropOtherKEKs(now: .now())
                return "only \(rotation.ring.fingerprint) opens the root keys now"
            },
        ]
    }

    /// Where the service finds the new master key: `file`, which may be a credential, or the key of a token.
    private static func newMasterKey(_ node: JSONNode) throws -> MasterKeyLocation {
        let arguments = try ControlArguments(node, ["file", "module", "token", "key", "pin"])
        func place(_ name: String) throws -> SecretLocation {
            guard let place = SecretLocation(configurationText: try arguments.text(name), folder: "/") else {
                throw ControlArguments.malformed(
                    "the argument \(name) names no secret", expected: SecretLocation.expectation)
            }
            return place
        }
        guard let token = try arguments.optional("token") else { return .secret(try place("file")) }
        guard try arguments.optional("file") == nil else {
            throw ControlArguments.malformed("the arguments file and token are both there", expected: "one of them")
        }
        let location = TokenKey.Location(
            module: try arguments.text("module"), token: token, key: try arguments.text("key"))
        return .token(TokenSection(location, pin: try place("pin")))
    }

    private static func version(_ arguments: JSONNode) throws -> Int64 {
        guard let version = Int64(try ControlArguments(arguments, ["version"]).text("version")) else {
            throw ControlArguments.malformed("the argument version is no number")
        }
        return version
    }

    private static func step(
        _ name: String, _ kms: RunningKMS, _ body: @escaping @Sendable () async throws -> String
    ) -> ControlCommand {
        ControlCommand(name) { arguments, _, peer, _ in
            _ = try ControlArguments(arguments, [])
            // Before it is done: what can not be kept is not done.
            let by = OversightCommands.name(peer)
            var act = OfficeAct(.policy, by: by, command: name, rule: "master-key:\(name)")
            try await kms.audit.keep(act, now: .now())
            let result = try await body()
            act.result = result
            try await kms.audit.keep(act, now: .now())
            return ControlAnswer { json in json.member("done", result) }
        }
    }

    private static func signed(
        _ name: String, _ kms: RunningKMS, _ body: @escaping @Sendable (JSONNode) async throws -> String
    ) -> ControlCommand {
        ControlCommand(
            name, duty: .erasure, needsSecond: { _ in kms.policy.current.signed.erasure.fourEyes },
            run: { arguments, _, _, _ in
                let result = try await body(arguments)
                return ControlAnswer { json in json.member("done", result) }
            })
    }

    private static func status(_ kms: RunningKMS) async throws -> ControlAnswer {
        let rotation = kms.rootKeys.rotation
        let journal = try await rotation.journal()
        let records = try await kms.store.rootKeys()
        var counts: [Int64: Int] = [:]
        for table in SealedTable.allCases {
            for (version, count) in try await kms.store.sealedCounts(table) { counts[version, default: 0] += count }
        }
        let now = Timestamp.now()
        let work = kms.rootKeys.work
        return ControlAnswer { json in
            json.member("keyEncryptionKey", rotation.ring.fingerprint)
            json.name("versions")
            json.beginArray()
            for record in records {
                json.beginObject()
                json.member("version", record.version)
                json.member("state", record.state.rawValue)
                json.member("created", record.created.iso8601)
                json.member("fingerprint", ifPresent: try? rotation.ring.rootFingerprint(record.version))
                json.member("holders", record.wraps.keys.sorted())
                json.member("values", counts[record.version] ?? 0)
                json.endObject()
            }
            json.endArray()
            json.name("nodes")
            json.beginArray()
            for (name, node) in journal.nodes.sorted(by: { $0.key < $1.key }) {
                json.beginObject()
                json.member("node", name)
                json.member("proved", node.proved)
                json.member("keyEncryptionKey", ifPresent: node.kek)
                json.member("seen", node.seen.iso8601)
                json.member("live", node.seen > now.adding(seconds: -RootKeyRotation.lease))
                json.endObject()
            }
            json.endArray()
            if let promotion = journal.promotion {
                json.member("from", promotion.from)
                json.member("to", promotion.to)
                json.member("promoted", promotion.at.iso8601)
                json.member("retired", ifPresent: promotion.retired?.iso8601)
            }
            if let destruction = journal.destruction {
                json.member("destroys", destruction.version)
                json.member("destroysAt", destruction.due.iso8601)
            }
            if let progress = work.progress {
                json.member("done", progress.done)
                json.member("total", progress.total)
                json.member("broken", progress.broken)
                if let remaining = progress.remaining { json.member("secondsLeft", remaining) }
            }
            json.member("destructionWaits", ifPresent: work.heldUp?.description)
            if let progress = work.carryOver {
                json.name("erasableKeys")
                json.beginObject()
                json.member("done", progress.done)
                json.member("total", progress.total)
                if let remaining = progress.remaining { json.member("secondsLeft", remaining) }
                json.endObject()
            }
            json.member("failure", ifPresent: work.failure?.description)
        }
    }
}
