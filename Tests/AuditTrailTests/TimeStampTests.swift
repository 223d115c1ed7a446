import Cryptography
import Diagnostics
import Synchronization
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Time stamps of an authority (RFC 3161)")
struct TimeStampTests {
    private typealias Authority = TestTimeAuthority

    private let digest = SHA256.hash(Array("head".utf8))

    private func authority() async throws -> (Authority, roots: [Certificate]) {
        let authority = try await onOwnThread { try Authority() }
        return (authority, try Certificate.all(inPEM: try authority.root))
    }

    private func failure(_ body: () async throws -> Void) async -> DiagnosedError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? DiagnosedError
        }
    }

    @Test("A stamp that was asked for holds, says when, under which policy and by whom, and OpenSSL agrees")
    func good() async throws {
        let (authority, roots) = try await authority()
        let request = try TimeStampRequest(digest: digest, policy: Authority.policy)
        let reply = try await onOwnThread { try authority.reply(to: request.der) }
        let now = Timestamp.now()
        let token = try TimeStampToken.granted(in: reply, to: request, roots: roots, now: now)
        #expect(token.policy == Authority.policy && token.signer == "CN=Time-good")
        #expect(abs(token.time.seconds - now.seconds) < 60)
        #expect(try TimeStampToken(der: token.der, over: digest, policy: Authority.policy, roots: roots) == token)
        #expect(try await onOwnThread { authority.verifies(token: token.der, over: "head") })
        #expect(try await onOwnThread { authority.verifies(token: token.der, over: "tail") } == false)
    }

    @Test("Modifications are granted: what counts in the token is verified all the same; without a token it is nothing")
    func grantedWithModifications() async throws {
        let (authority, roots) = try await authority()
        let request = try TimeStampRequest(digest: digest)
        let token = try await onOwnThread { try authority.token(of: try authority.reply(to: request.der)) }
        func take(_ reply: [UInt8]) throws -> TimeStampToken {
            try TimeStampToken.granted(in: reply, to: request, roots: roots, now: .now())
        }
        #expect(try take(Authority.response(status: 1, token: token)).der == token)
        for status in [0, 1] as [UInt8] {
            let error = await failure { _ = try take(Authority.response(status: status, token: [])) }
            #expect(error?.code == .timeStampMalformed)
        }
        // A token beside a refusal is none.
        let error = await failure { _ = try take(Authority.response(status: 2, token: token)) }
        #expect(error?.code == .timeStampMalformed)
    }

    @Test("A stamp for another request, over another digest or under another policy does not hold")
    func wrong() async throws {
        let (authority, roots) = try await authority()
        let request = try TimeStampRequest(digest: digest)
        let reply = try await onOwnThread { try authority.reply(to: request.der) }
        func take(_ other: TimeStampRequest, _ roots: [Certificate]) async -> DiagnosedError? {
            await failure { _ = try TimeStampToken.granted(in: reply, to: other, roots: roots, now: .now()) }
        }
        #expect(await take(request, roots) == nil)
        let another = await take(try TimeStampRequest(digest: digest), roots)
        #expect(another?.code == .timeStampInvalid && another?.found?.contains("nonce mismatch") == true)
        let digested = await take(try TimeStampRequest(digest: SHA256.hash([1])), roots)
        #expect(digested?.code == .timeStampInvalid && digested?.found?.contains("imprint mismatch") == true)
        let policy = await failure {
            _ = try TimeStampToken(
                der: authority.token(of: reply), over: digest, policy: "1.2.3.4.2", roots: roots)
        }
        #expect(policy?.code == .timeStampInvalid && policy?.found?.contains("policy") == true)
        let nobody = await take(request, [])
        #expect(nobody?.code == .timeStampInvalid)
    }

    @Test("Who may not stamp times is not believed, also not later", arguments: TestTimeAuthority.Signer.allCases)
    func signers(_ signer: TestTimeAuthority.Signer) async throws {
        let (authority, roots) = try await authority()
        let request = try TimeStampRequest(digest: digest)
        let reply = try await onOwnThread {
            // The way by which the others are made gives a stamp that holds when the signer is good.
            signer == .good
                ? try authority.reissue(try authority.reply(to: request.der), by: .good)
                : try authority.reply(to: request.der, by: signer)
        }
        let token = try await onOwnThread { try authority.token(of: reply) }
        let first = await failure { _ = try TimeStampToken.granted(in: reply, to: request, roots: roots, now: .now()) }
        let later = await failure { _ = try TimeStampToken(der: token, over: digest, roots: roots) }
        guard signer != .good else {
            #expect(first == nil && later == nil)
            return
        }
        let reason =
            switch signer {
            case .expired: "certificate has expired"
            case .otherRoot: "unable to get local issuer certificate"
            default: "unsuitable certificate purpose"
            }
        for error in [first, later] {
            #expect(error?.code == .timeStampInvalid && error?.found?.contains(reason) == true, "\(error?.found ?? "")")
        }
    }

    @Test("A signature over SHA-1 and a clock that is far off are refused")
    func weak() async throws {
        let (authority, roots) = try await authority()
        let request = try TimeStampRequest(digest: digest)
        let (weak, good) = try await onOwnThread {
            let weak = (try? authority.reply(to: request.der, configuration: "weak")) ?? []
            return (weak, try authority.reply(to: request.der))
        }
        let now = Timestamp.now()
        if !weak.isEmpty {
            let error = await failure { _ = try TimeStampToken.granted(in: weak, to: request, roots: roots, now: now) }
            #expect(error?.code == .timeStampInvalid && error?.found == "SHA1")
        }
        for (seconds, isTaken) in [(-900, false), (0, true), (900, false)] as [(Int64, Bool)] {
            // The authority's certificate is not valid before it was made.
            let error = await failure {
                _ = try TimeStampToken.granted(
                    in: good, to: request, roots: roots, now: now.adding(seconds: seconds))
            }
            #expect((error == nil) == isTaken)
            if seconds > 0 { #expect(error?.code == .timeStampClock) }
        }
    }

    @Test("An authority's refusal is told with its reason")
    func rejection() async throws {
        let (authority, roots) = try await authority()
        let request = try TimeStampRequest(digest: digest, policy: "1.2.3.4.99")
        let reply = try await onOwnThread { try authority.reply(to: request.der) }
        let error = await failure {
            _ = try TimeStampToken.granted(in: reply, to: request, roots: roots, now: .now())
        }
        #expect(error?.code == .timeStampRefused && error?.found == "rejection, unacceptedPolicy")
        #expect(await failure { _ = try TimeStampRequest(digest: digest, policy: "acme") }?.fault == .configuration)
    }

    @Test("No part of an answer, no other octets and none that is too long is taken for an answer")
    func damaged() async throws {
        let (authority, roots) = try await authority()
        let request = try TimeStampRequest(digest: digest)
        let reply = try await onOwnThread { try authority.reply(to: request.der) }
        let token = try await onOwnThread { try authority.token(of: reply) }
        let now = Timestamp.now()
        func taken(_ octets: [UInt8]) -> Bool {
            (try? TimeStampToken.granted(in: octets, to: request, roots: roots, now: now)) != nil
        }
        func holds(_ octets: [UInt8]) -> Bool {
            (try? TimeStampToken(der: octets, over: digest, roots: roots)) != nil
        }
        #expect(taken(reply) && holds(token))
        for end in stride(from: 0, to: reply.count, by: 7) { #expect(!taken(Array(reply[..<end])), "\(end)") }
        for end in stride(from: 0, to: token.count, by: 7) { #expect(!holds(Array(token[..<end])), "\(end)") }
        #expect(!taken(reply + [0]) && !holds(token + [0]))
        let long = [UInt8](repeating: 0x30, count: TimeStampToken.maximumBytes + 1)
        #expect(
            await failure { _ = try TimeStampToken(der: long, over: digest, roots: roots) }?.code == .timeStampMalformed
        )
        // A changed octet never makes a token about another time; where it is not noticed, nothing that counts changed.
        let time = try TimeStampToken(der: token, over: digest, roots: roots).time
        let seed = UInt64.random(in: .min ... .max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<400 {
            var changed = token
            changed[Int.random(in: token.indices, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
            let found = try? TimeStampToken(der: changed, over: digest, roots: roots)
            #expect(found == nil || found?.time == time, "seed \(seed)")
        }
    }
}

@Suite("The time stamps beside a trail's heads")
struct TimeStampWitnessTests {
    private let fixture: AuditFixture
    private let authority: TestTimeAuthority
    private let roots: [Certificate]

    init() async throws {
        fixture = try AuditFixture()
        let authority = try await onOwnThread { try TestTimeAuthority() }
        self.authority = authority
        roots = try Certificate.all(inPEM: try authority.root)
    }

    private var file: String { fixture.temporary.path + "/stamps" }

    private func witness(_ signer: TestTimeAuthority.Signer = .good) -> TimeStampWitness {
        let authority = authority
        return TimeStampWitness("tsa", file: file, roots: roots) { query in
            try await onOwnThread { try authority.reply(to: query, by: signer) }
        }
    }

    private func verify(_ authorities: [Certificate]) throws -> VerificationReport {
        let trust = AttestationTrust(keys: [fixture.key.publicKey])
        return try TrailVerifier(
            folder: fixture.folder, trust: trust, witnesses: [file], authorities: authorities
        ).verify()
    }

    private func lines() throws -> [String] {
        try fixture.temporary.contents(of: "stamps").split(separator: "\n").map(String.init)
    }

    @Test("Each head gets its stamp, and the verification tells what it proves and what it does not")
    func stamps() async throws {
        let witness = witness()
        let trail = try await fixture.open { $0.witnesses.append(witness) }
        for number in 0..<2 {
            try await fixture.fill(trail, number..<number + 1)
            try await fixture.seal(trail)
        }
        #expect(trail.state.witnesses.last?.deliveredThrough == 4 && trail.state.witnesses.last?.failure == nil)
        let report = try verify(roots)
        #expect(report.stamps == 2 && report.stampedThrough == 4 && report.uncheckedStamps == 0)
        #expect(report.witnessedThrough == 4)
        #expect(report.text().contains("records 1 to 4 existed before \(try #require(report.stampedAt))"))
        #expect(report.text().contains("says CN=Time-good"))
        // Without the authority's certificate they are witnesses' heads, and the report says what is missing.
        let unchecked = try verify([])
        #expect(unchecked.stamps == 0 && unchecked.stampedAt == nil && unchecked.uncheckedStamps == 2)
        #expect(unchecked.witnessedThrough == 4 && unchecked.text().contains("not checked: 2 time stamps"))
        // Anybody can check one with OpenSSL.
        let first = try #require(StampedHead(Array(lines()[0].utf8)))
        let (authority, token) = (authority, try #require(first.token))
        #expect(try await onOwnThread { authority.verifies(token: token, over: first.jws) })
    }

    @Test("The file of stamps also shows that a folder went back")
    func rollback() async throws {
        let witness = witness()
        let trail = try await fixture.open { $0.witnesses = [witness] }
        try await fixture.fill(trail, 0..<3)
        let old = try fixture.copy()
        try await fixture.fill(trail, 3..<6)
        try await fixture.seal(trail)
        try await trail.close()
        fixture.putBack(old)
        #expect(await code { _ = try await fixture.open { $0.witnessFiles = [file] } } == .auditRolledBack)
        #expect(await code { _ = try verify(roots) } == .auditWitnessContradicts)
    }

    @Test("A stamp that was put beside another head, or one by another authority, is a break with its line")
    func tampering() async throws {
        let witness = witness()
        let trail = try await fixture.open { $0.witnesses.append(witness) }
        for number in 0..<2 {
            try await fixture.fill(trail, number..<number + 1)
            try await fixture.seal(trail)
        }
        let heads = try lines().map { try #require(StampedHead(Array($0.utf8))) }
        func write(_ lines: [String]) { fixture.write("../stamps", lines: lines) }
        write([StampedHead(jws: heads[0].jws, token: heads[1].token).line, heads[1].line])
        do {
            _ = try verify(roots)
            Issue.record("taken")
        } catch let error as DiagnosedError {
            #expect(error.code == .timeStampInvalid && error.summary.contains("stamps line 1"))
        }
        write([heads[0].line, heads[1].line])
        #expect(throws: Never.self) { try verify(roots) }
        let other = try authority.folder.contents(of: "other.pem")
        #expect(await code { _ = try verify(Certificate.all(inPEM: other)) } == .timeStampInvalid)
        // What a crash tore is passed over.
        write([String(heads[0].line.prefix(700)), heads[1].line])
        let report = try verify(roots)
        #expect(report.stamps == 1 && report.unreadableWitnessLines == 1)
    }

    @Test("An authority that fails blocks nothing, is seen in the state, and gets the same head again")
    func unreachable() async throws {
        let isAway = Mutex(true)
        let authority = authority
        let witness = TimeStampWitness("tsa", file: file, roots: roots) { query in
            if isAway.withLock({ $0 }) {
                throw DiagnosedError("gone", fault: .peer, "no way to the authority")
            }
            return try await onOwnThread { try authority.reply(to: query) }
        }
        let trail = try await fixture.open { $0.witnesses = [witness] }
        try await fixture.fill(trail, 0..<1)
        for attempt in 1...3 {
            // Nothing new but for the first time: the same head.
            try await fixture.seal(trail)
            let state = try #require(trail.state.witnesses.last)
            #expect(state.failures == attempt && state.failure?.code == "gone" && state.deliveredThrough == nil)
        }
        try await trail.keep(fixture.record(1))
        isAway.withLock { $0 = false }
        try await fixture.seal(trail)
        #expect(trail.state.witnesses.last?.failures == 0 && trail.state.witnesses.last?.deliveredThrough == 4)
        try await fixture.seal(trail)
        #expect(try lines().count == 1)
    }

    @Test("A stamp by who may not stamp is never stored")
    func unbelieved() async throws {
        let witness = witness(.notCritical)
        let trail = try await fixture.open { $0.witnesses = [witness] }
        try await fixture.fill(trail, 0..<1)
        try await fixture.seal(trail)
        #expect(trail.state.witnesses.last?.failure?.code == .timeStampInvalid)
        #expect(!fixture.temporary.names(in: ".").contains("stamps"))
    }
}
