import AuditTrail
import ControlSocket
import Cryptography
import Diagnostics
import Escrow
import KeyManagement
import Recovery
import SignedPolicy
import WireText

/// Commands of escrow and backup. The words of shares never come here: only public keys and answers to challenges do.
///
/// A new escrow decides who may recover every key, so an officer signs it, with the duty `policy`. Proofs and backups
/// need the operators' group only: neither shows anything, and a holder needs no officer to show that he has his share.
enum RecoveryCommands {
    static func all(_ kms: RunningKMS) -> [ControlCommand] {
        [
            ControlCommand("escrow-status") { arguments, _, _, _ in
                _ = try ControlArguments(arguments, [])
                let state = try await kms.escrow.state()
                return ControlAnswer { write(state, &$0) }
            },
            ControlCommand("escrow-create", duty: .policy) { arguments, _, _, _ in
                let state = try await create(arguments, kms)
                return ControlAnswer { write(state, &$0) }
            },
            ControlCommand("escrow-challenge") { arguments, _, peer, _ in
                let text = try ControlArguments(arguments, ["number"]).text("number")
                guard let number = Int(text) else {
                    throw ControlArguments.malformed("the number of the share is none", found: text.quotedForError)
                }
                try await note(kms, peer, "escrow-challenge", detail: "share \(number)")
                let challenge = try await kms.escrow.challenge(number, nonce: try RandomBytes.bytes(32))
                return ControlAnswer { $0.member("challenge", challenge.text) }
            },
            ControlCommand("escrow-confirm") { arguments, _, peer, _ in
                let answer = try ControlArguments(arguments, ["answer"]).text("answer")
                let number = try await kms.escrow.confirm(answer, now: .now())
                try await note(kms, peer, "escrow-confirm", detail: "share \(number)")
                let state = try await kms.escrow.state()
                return ControlAnswer { json in
                    json.member("proved", number)
                    write(state, &json)
                }
            },
            ControlCommand("backup") { arguments, _, peer, _ in
                _ = try ControlArguments(arguments, [])
                try await note(kms, peer, "backup", detail: nil)
                let (file, erasable, expired, made) = try await kms.backups.make(now: .now())
                return ControlAnswer { json in
                    write(file, made.header, &json)
                    json.member("erasable", erasable)
                    json.member("expired", Int64(expired))
                    json.name("tables")
                    json.beginArray()
                    for table in made.manifest.tables {
                        json.beginObject()
                        json.member("name", table.name)
                        json.member("rows", table.rows)
                        json.member("sha256", Hexadecimal.encode(table.digest))
                        json.endObject()
                    }
                    json.endArray()
                }
            },
            ControlCommand("reports") { arguments, _, _, _ in
                _ = try ControlArguments(arguments, [])
                let reports = kms.backups.reports.list()
                return ControlAnswer { json in
                    json.name("reports")
                    json.beginArray()
                    for report in reports {
                        json.beginObject()
                        report.write(to: &json)
                        json.endObject()
                    }
                    json.endArray()
                }
            },
            ControlCommand("backup-list") { arguments, _, _, _ in
                _ = try ControlArguments(arguments, [])
                let entries = try await kms.backups.list()
                return ControlAnswer { json in
                    json.name("backups")
                    json.beginArray()
                    for entry in entries {
                        json.beginObject()
                        write(entry.file, entry.header, &json)
                        json.endObject()
                    }
                    json.endArray()
                }
            },
        ]
    }

    private static func create(_ node: JSONNode, _ kms: RunningKMS) async throws -> EscrowState {
        let arguments = try ControlArguments(node, ["publicKey", "needed", "commitments", "replace"])
        func point(_ text: String) throws -> [UInt8] {
            guard let octets = Base64URL.decode(text) else {
                throw ControlArguments.malformed("a public key is no base64url")
            }
            return octets
        }
        let needed = try arguments.text("needed")
        guard let needed = Int(needed), let texts = node["commitments"]?.strings else {
            throw ControlArguments.malformed("needed and commitments are missing or of another form")
        }
        let commitments = try texts.enumerated().map { index, text in
            ShareProof.Commitment(number: index + 1, publicKey: try point(text))
        }
        return try await kms.escrow.create(
            publicKey: try point(try arguments.text("publicKey")), needed: needed, commitments: commitments,
            replacing: node["replace"]?.boolean == true, now: .now())
    }

    private static func write(_ state: EscrowState?, _ json: inout JSONWriter) {
        guard let state else { return json.member("escrow", false) }
        let unproved = Set(state.unproved(now: .now()))
        json.member("escrow", true)
        json.member("fingerprint", state.fingerprint)
        json.member("needed", state.needed)
        json.member("created", state.created.iso8601)
        json.name("shares")
        json.beginArray()
        for share in state.shares {
            json.beginObject()
            json.member("number", share.commitment.number)
            json.member("proved", ifPresent: share.proved?.iso8601)
            json.member("due", unproved.contains(share.commitment.number))
            json.endObject()
        }
        json.endArray()
    }

    private static func write(_ file: String, _ header: BackupHeader, _ json: inout JSONWriter) {
        json.member("file", file)
        json.member("id", header.id)
        json.member("host", header.host)
        json.member("created", header.created.iso8601)
        json.member("rootKeyVersion", header.rootVersion)
        json.member("masterKeys", Set(header.rootKeys.map(\.kek)).sorted())
        json.member("escrow", ifPresent: header.isEscrowed ? header.escrow : nil)
    }

    private static func note(
        _ kms: RunningKMS, _ peer: PeerCredentials, _ command: String, detail: String?
    ) async throws {
        var act = OfficeAct(.lookup, by: OversightCommands.name(peer), command: command)
        act.detail = detail
        try await kms.audit.keep(act, now: .now())
    }
}
