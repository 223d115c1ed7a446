import Cryptography
import Diagnostics
import Foundation
import JOSESignature
import Testing
import TokenIssuer
import WireText

@Suite("Signing key ring")
struct SigningKeyRingTests {
    private let start = Timestamp(seconds: 1_800_000_000)

    private func ring() throws -> SigningKeyRing {
        SigningKeyRing(current: try .generateP256(), next: try .generateP256(), now: start)
    }

    @Test("A key is published before it signs, and after it until its last token has expired")
    func lifeOfAKey() throws {
        var ring = try ring()
        let (first, second) = (ring.current.kid, ring.next.kid)
        #expect(ring.published(at: start).map(\.kid) == [first, second])
        let roll = start.adding(seconds: 1000)
        ring.roll(newKey: try .generateP256(), now: roll, lifetime: 100)
        #expect(ring.current.kid == second)
        #expect(ring.next.kid != first && ring.next.kid != second)
        #expect(ring.published(at: roll).map(\.kid) == [second, ring.next.kid, first])
        #expect(ring.published(at: roll.adding(seconds: 99)).contains { $0.kid == first })
        #expect(!ring.published(at: roll.adding(seconds: 100)).contains { $0.kid == first })
    }

    @Test("A roll is due when the period is over, and starts a new one")
    func due() throws {
        var ring = try ring()
        #expect(!ring.isRollDue(at: start.adding(seconds: 59), period: 60))
        #expect(ring.isRollDue(at: start.adding(seconds: 60), period: 60))
        ring.roll(newKey: try .generateP256(), now: start.adding(seconds: 60), lifetime: 10)
        #expect(!ring.isRollDue(at: start.adding(seconds: 119), period: 60))
        #expect(!ring.isRollDue(at: start, period: 60))
    }

    @Test("Many rolls leave no trace of keys whose tokens are gone")
    func forgetting() throws {
        var ring = try ring()
        for step in 1...20 {
            ring.roll(newKey: try .generateP256(), now: start.adding(seconds: Int64(step) * 60), lifetime: 90)
        }
        #expect(ring.retired.count == 2)
        #expect(ring.published(at: start.adding(seconds: 20 * 60 + 90)).count == 2)
    }

    @Test("The key set holds public keys for ES256 only")
    func keySet() throws {
        let ring = try ring()
        let keys = try #require(try JSONDocument(ring.keySet(at: start)).root["keys"]?.elements)
        #expect(keys.count == 2)
        for key in keys {
            #expect(key["kty"]?.string == "EC" && key["crv"]?.string == "P-256")
            #expect(key["use"]?.string == "sig" && key["alg"]?.string == "ES256")
            #expect(key["d"] == nil)
        }
        #expect(keys.map { $0["kid"]?.string } == [ring.current.kid, ring.next.kid])
        // RFC 7638, computed apart from the product.
        let key = keys[0]
        let members = try ["crv", "kty", "x", "y"].map { "\"\($0)\":\"\(try #require(key[$0]?.string))\"" }
        let text = "{" + members.joined(separator: ",") + "}"
        #expect(Base64URL.encode(SHA256.hash(Array(text.utf8))) == ring.current.kid)
    }
}

@Suite("Signing keys on disk")
struct SigningKeysTests {
    private let start = Timestamp(seconds: 1_800_000_000)
    private let schedule = SigningKeys.Schedule(period: 1000, overlap: 100)

    private func keys(_ folder: TemporaryFolder, events: RecordedEvents? = nil, now: Timestamp? = nil) throws
        -> SigningKeys
    {
        try SigningKeys(folder: folder.path, schedule: schedule, now: now ?? start, events: events)
    }

    private func kids(_ keys: SigningKeys, _ now: Timestamp) -> [String] {
        keys.ring(at: now).published(at: now).map(\.kid)
    }

    @Test("The ring is the same after a restart, with its retired keys, and the file is closed to others")
    func restart() throws {
        let folder = try TemporaryFolder()
        let first = try keys(folder)
        try first.roll(at: start.adding(seconds: 1))
        try first.roll(at: start.adding(seconds: 2))
        let now = start.adding(seconds: 3)
        let second = try keys(folder, now: now)
        #expect(kids(second, now) == kids(first, now))
        #expect(kids(second, now).count == 4)
        let signature = try second.ring(at: now).current.privateKey.sign(Array("x".utf8), algorithm: .es256)
        #expect(
            first.ring(at: now).current.publicKey.isValidSignature(signature, for: Array("x".utf8), algorithm: .es256))
        #expect(try folder.mode("signing-keys.pem") == 0o600)
        let text = try folder.text("signing-keys.pem")
        #expect(text.matches(of: /BEGIN PRIVATE KEY/).count == 2, "retired keys keep no private half")
        #expect(text.matches(of: /BEGIN PUBLIC KEY/).count == 2)
    }

    @Test("Keys roll by themselves when somebody needs them after the period")
    func rollsByItself() throws {
        let folder = try TemporaryFolder()
        let events = RecordedEvents()
        let keys = try keys(folder, events: events)
        let (current, next) = (keys.ring(at: start).current.kid, keys.ring(at: start).next.kid)
        #expect(keys.ring(at: start.adding(seconds: 999)).current.kid == current)
        #expect(events.count(of: .signingKeyRolled) == 0)
        let ring = keys.ring(at: start.adding(seconds: 1000))
        #expect(ring.current.kid == next)
        #expect(ring.retired.map(\.kid) == [current])
        #expect(events.count(of: .signingKeyRolled) == 1)
    }

    @Test("A roll by another process counts from the next use on, and both do not roll twice")
    func twoProcesses() throws {
        let folder = try TemporaryFolder()
        let events = RecordedEvents()
        let server = try keys(folder, events: events)
        let command = try keys(folder)
        try command.roll(at: start.adding(seconds: 5))
        #expect(kids(server, start.adding(seconds: 5)) == kids(command, start.adding(seconds: 5)))
        #expect(events.count(of: .signingKeyRolled) == 1, "the journal of the service tells it")
        let due = start.adding(seconds: 1005)
        let rolled = server.ring(at: due).current.kid
        #expect(command.ring(at: due).current.kid == rolled)
        #expect(server.ring(at: due).current.kid == rolled)
    }

    @Test("After a compromise nothing of the old keys is left")
    func compromise() throws {
        let folder = try TemporaryFolder()
        let keys = try keys(folder)
        try keys.roll(at: start)
        let old = Set(kids(keys, start))
        try keys.replaceAll(at: start)
        #expect(old.isDisjoint(with: kids(keys, start)))
        #expect(kids(keys, start).count == 2)
    }

    @Test("What a crash left beside the file does no harm")
    func leftover() throws {
        let folder = try TemporaryFolder()
        let before = kids(try keys(folder), start)
        _ = try folder.write("half a fi", to: "signing-keys.pem.new")
        let keys = try keys(folder)
        #expect(kids(keys, start) == before)
        try keys.roll(at: start)
        #expect(try !folder.names().contains("signing-keys.pem.new"))
    }

    @Test("A damaged file is refused at start, whatever is damaged")
    func damage() throws {
        let folder = try TemporaryFolder()
        let keys = try keys(folder)
        try keys.roll(at: start)
        let text = try folder.text("signing-keys.pem")
        let kid = keys.ring(at: start).current.kid
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let body = try #require(lines.firstIndex { $0.hasPrefix("-----BEGIN") }) + 1
        let damaged: [String] = [
            "", "key: current\n", String(text.prefix(text.count / 2)), text + text,
            text.replacing("key: next", with: "key: current"), text.replacing("key: retired", with: "key: spare"),
            text.replacing(kid, with: String(kid.reversed())), text.replacing("since: ", with: "since: x"),
            text.replacing("kid: ", with: "kit: "), text.replacing("-----END PRIVATE KEY-----\n", with: ""),
            text.replacing(lines[body], with: String(lines[body].reversed())), "nonsense\n" + text,
        ]
        for text in damaged {
            _ = try folder.write(text, to: "signing-keys.pem")
            let error = #expect(throws: DiagnosedError.self) { try self.keys(folder) }
            #expect(error?.code == .signingKeyFile, "\(error?.description ?? "") for \(text.prefix(80))")
            #expect(error?.description.contains(lines[body]) == false)
        }
    }

    @Test("A file that others may read is refused, and so is its folder")
    func access() throws {
        let folder = try TemporaryFolder()
        _ = try keys(folder)
        _ = try folder.write(try folder.text("signing-keys.pem"), to: "signing-keys.pem", mode: 0o640)
        #expect(throws: DiagnosedError.coded(.fileAccess)) { try keys(folder) }
        let open = try TemporaryFolder()
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: open.path)
        #expect(throws: DiagnosedError.coded(.fileAccess)) { try keys(open) }
    }

    @Test("A running service goes on with its keys when the file becomes unreadable, and says so once")
    func runningOn() throws {
        let folder = try TemporaryFolder()
        let events = RecordedEvents()
        let keys = try keys(folder, events: events)
        let before = keys.ring(at: start).current.kid
        _ = try folder.write("garbage", to: "signing-keys.pem")
        for second in 0..<20 { #expect(keys.ring(at: start.adding(seconds: Int64(second))).current.kid == before) }
        #expect(events.count(of: .standingWarning) == 1)
    }
}
