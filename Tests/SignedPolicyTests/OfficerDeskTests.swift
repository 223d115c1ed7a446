import Cryptography
import Diagnostics
import SignedPolicy
import Synchronization
import Testing
import WireText

@Suite("Officers' requests")
struct OfficerDeskTests {
    private let cast: Cast
    private let arguments: JSONNode

    init() throws {
        cast = try Cast()
        arguments = try JSONDocument(text: #"{"user":"u1","spaces":["a","b"]}"#).root
    }

    private final class Kept: Sendable {
        struct Broken: Error {}
        private let state = Mutex<(nonces: [OfficerDesk.Nonce], isBroken: Bool)>(([], false))
        var nonces: [OfficerDesk.Nonce] { state.withLock { $0.nonces } }
        func breakDown() { state.withLock { $0.isBroken = true } }
        func keep(_ nonces: [OfficerDesk.Nonce]) async throws {
            // Others get their turn while this one is being written.
            await Task.yield()
            try state.withLock {
                if $0.isBroken { throw Broken() }
                $0.nonces += nonces
            }
        }
    }

    private func desk(_ kept: Kept = Kept(), host: String = "kms.example.com") -> OfficerDesk {
        OfficerDesk(
            host: host, nodes: ["node-1", "cluster"],
            duties: ["freeze": .freeze, "erase": .erasure], roster: { [roster = cast.roster] in roster },
            remembered: kept.nonces, keep: { try await kept.keep($0) })
    }

    private func request(
        _ command: String = "freeze", arguments: JSONNode? = nil, host: String = "kms.example.com",
        node: String = "node-1", issued: Timestamp = Cast.noon, life: Int64 = 300, nonce: String = UUIDText.random(),
        key: PrivateKey? = nil
    ) throws -> String {
        let payload = try OfficerRequest.payload(
            command: command, arguments: arguments ?? self.arguments, host: host, node: node, issued: issued,
            life: life, nonce: nonce)
        return try OfficerSignature.sign(payload, as: .request, with: key ?? cast.ada.key)
    }

    private func approve(
        _ desk: OfficerDesk, _ signature: String?, command: String = "freeze", confirmation: String? = nil,
        second: Bool = false, now: Timestamp = Cast.noon
    ) async throws -> OfficerDesk.Approval {
        try await desk.approve(
            command: command, arguments: arguments, signature: signature, confirmation: confirmation,
            needsSecond: { second }, now: { now })
    }

    private func code(
        _ desk: OfficerDesk, _ signature: String?, command: String = "freeze", confirmation: String? = nil,
        second: Bool = false, now: Timestamp = Cast.noon
    ) async -> DiagnosedError.Code? {
        await Cast.error {
            try await approve(desk, signature, command: command, confirmation: confirmation, second: second, now: now)
        }?.code
    }

    @Test("an officer's request is carried out once, and whose it was is told")
    func once() async throws {
        let desk = desk()
        let signature = try request()
        let approval = try await approve(desk, signature)
        #expect(approval.officer.id == "ada" && approval.second == nil)
        #expect(approval.digest == OfficerRequest.digest(of: signature))
        #expect(await code(desk, signature) == .requestReplayed)
        #expect(await code(desk, try request(node: "cluster")) == nil)
    }

    @Test("a restart forgets no request")
    func restart() async throws {
        let kept = Kept()
        let signature = try request()
        _ = try await approve(desk(kept), signature)
        #expect(await code(desk(kept), signature) == .requestReplayed)
    }

    @Test("a clock that is set back brings no request back")
    func clockSetBack() async throws {
        let desk = desk()
        let signature = try request()
        _ = try await approve(desk, signature)
        _ = try await approve(
            desk, try request(issued: Cast.noon.adding(seconds: 86_400)), now: Cast.noon.adding(seconds: 86_400))
        #expect(await code(desk, signature) == .requestReplayed)
    }

    @Test("a request under a new signature with the old nonce is the old request")
    func resigned() async throws {
        let desk = desk()
        let nonce = UUIDText.random()
        _ = try await approve(desk, try request(nonce: nonce))
        #expect(await code(desk, try request(nonce: nonce)) == .requestReplayed)
        #expect(await code(desk, try request(nonce: nonce, key: cast.cyd.key)) == .requestReplayed)
    }

    @Test("a request that can not be written down is not carried out, and neither is it later")
    func notKept() async throws {
        let kept = Kept()
        let desk = desk(kept)
        kept.breakDown()
        let signature = try request()
        let error = await Cast.error { try await approve(desk, signature) }
        #expect(error?.fault == .store)
        #expect(await Cast.error { try await approve(desk, signature) }?.fault == .client)
    }

    @Test("whether a second officer is needed is asked only for a request whose first signature is good and fresh")
    func counting() async throws {
        let desk = desk()
        let counted = Mutex(0)
        func ask(_ signature: String?, now: Timestamp = Cast.noon) async -> DiagnosedError.Code? {
            await Cast.error {
                try await desk.approve(
                    command: "freeze", arguments: arguments, signature: signature, confirmation: nil,
                    needsSecond: {
                        counted.withLock { $0 += 1 }
                        return false
                    }, now: { now })
            }?.code
        }
        let good = try request()
        for bad in [
            nil, "garbage", "a.b.c", String(good.dropLast(4)) + "AAAA", try request("erase"),
            try request(node: "node-2"), try request(key: cast.bob.key), try request(key: .generateP256()),
        ] {
            #expect(await ask(bad) != nil)
        }
        #expect(await ask(good, now: Cast.noon.adding(seconds: 400)) == .requestExpired)
        #expect(counted.withLock { $0 } == 0)
        #expect(await ask(good) == nil)
        #expect(counted.withLock { $0 } == 1)
        #expect(await ask(good) == .requestReplayed)
        #expect(counted.withLock { $0 } == 1)
    }

    @Test("a request that expires while it is counted what it hits is refused")
    func slowCounting() async throws {
        let desk = desk()
        let clock = Mutex(Cast.noon)
        let signature = try request()
        let error = await Cast.error {
            try await desk.approve(
                command: "freeze", arguments: arguments, signature: signature, confirmation: nil,
                needsSecond: {
                    clock.withLock { $0 = $0.adding(seconds: 301) }
                    return false
                }, now: { clock.withLock { $0 } })
        }
        #expect(error?.code == .requestExpired)
    }

    @Test("of many that carry one request at the same time, one succeeds")
    func race() async throws {
        let desk = desk()
        let signature = try request()
        let arguments = arguments
        let successes = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    (try? await desk.approve(
                        command: "freeze", arguments: arguments, signature: signature, confirmation: nil,
                        needsSecond: { false }, now: { Cast.noon })) != nil
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(successes == 1)
    }

    @Test("a signature for something else is none")
    func mismatch() async throws {
        let other = try JSONDocument(text: #"{"user":"u2","spaces":["a","b"]}"#).root
        let desk = desk()
        for signature in [
            try request(arguments: other), try request(host: "kms.other.example"), try request(node: "node-2"),
        ] {
            #expect(await code(desk, signature) == .requestMismatch)
        }
        #expect(await code(desk, try request("erase")) == .requestMismatch)
        #expect(await code(desk, try request()) == nil)
    }

    @Test("an officer without the duty, a stranger and nobody are refused")
    func duties() async throws {
        let desk = desk()
        #expect(await code(desk, try request("erase"), command: "erase") == .officerDuty)
        #expect(await code(desk, try request("status"), command: "status") == .officerDuty)
        #expect(await code(desk, try request(key: cast.bob.key)) == .officerDuty)
        #expect(await code(desk, try request(key: cast.eve)) == .officerUnknown)
        #expect(await code(desk, nil) == .requestUnsigned)
        #expect(await code(desk, "a.b.c") == .requestMalformed)
        #expect(await code(desk, try request(key: cast.cyd.key)) == nil)
    }

    @Test("a request counts from a minute before it was issued until it expires, and lives five minutes at most")
    func times() async throws {
        let desk = desk()
        for (offset, expected) in [
            (-61, .requestExpired), (-60, nil), (0, nil), (299, nil), (300, .requestExpired),
        ] as [(Int64, DiagnosedError.Code?)] {
            #expect(await code(desk, try request(), now: Cast.noon.adding(seconds: offset)) == expected, "\(offset)")
        }
        for life in [301, 0, -1] as [Int64] {
            #expect(await code(desk, try request(life: life)) == .requestMalformed)
        }
        #expect(await code(desk, try request(nonce: "short")) == .requestMalformed)
    }

    @Test("policies and confirmations are no requests, and a payload in another form is none either")
    func kinds() async throws {
        let desk = desk()
        let payload = try OfficerRequest.payload(
            command: "freeze", arguments: arguments, host: "kms.example.com", node: "node-1", issued: Cast.noon)
        for kind in [OfficerSignature.Kind.policy, .confirmation] {
            let signature = try OfficerSignature.sign(payload, as: kind, with: cast.ada.key)
            #expect(await code(desk, signature) == .requestMalformed)
        }
        let spaced = try OfficerSignature.sign(payload + [0x20], as: .request, with: cast.ada.key)
        #expect(await code(desk, spaced) == .requestMalformed)
        let right = try OfficerSignature.sign(payload, as: .request, with: cast.ada.key)
        #expect(await code(desk, right) == nil)
    }

    // MARK: Two officers

    private func confirmation(
        of signature: String, host: String = "kms.example.com", issued: Timestamp = Cast.noon, key: PrivateKey
    ) throws -> String {
        try OfficerSignature.sign(
            OfficerRequest.confirmation(of: signature, host: host, issued: issued), as: .confirmation, with: key)
    }

    @Test("where two are needed, another officer confirms this very request")
    func confirmed() async throws {
        let desk = desk()
        let signature = try request()
        #expect(await code(desk, signature, second: true) == .confirmationMissing)
        // The refusal used nothing up.
        let word = try confirmation(of: signature, key: cast.bob.key)
        let approval = try await approve(desk, signature, confirmation: word, second: true)
        #expect(approval.officer.id == "ada" && approval.second?.id == "bob")
        #expect(await code(desk, signature, confirmation: word, second: true) == .requestReplayed)
    }

    @Test("oneself, an officer without four-eyes, and a word for another request do not confirm")
    func notConfirmed() async throws {
        let desk = desk()
        let signature = try request(), other = try request()
        for (word, expected) in [
            (try confirmation(of: signature, key: cast.ada.key), .confirmationMissing),
            (try confirmation(of: signature, key: cast.cyd.key), .officerDuty),
            (try confirmation(of: signature, key: cast.eve), .officerUnknown),
            (try confirmation(of: other, key: cast.bob.key), .requestMismatch),
            (try confirmation(of: signature, host: "kms.other.example", key: cast.bob.key), .requestMismatch),
            (
                try confirmation(of: signature, issued: Cast.noon.adding(seconds: -300), key: cast.bob.key),
                .requestExpired
            ),
            (other, .requestMalformed),
        ] as [(String, DiagnosedError.Code)] {
            #expect(await code(desk, signature, confirmation: word, second: true) == expected)
            // A word that does not count spoils a request that would have needed none.
            #expect(await code(desk, signature, confirmation: word) == expected)
        }
        #expect(await code(desk, signature) == nil)
    }
}
