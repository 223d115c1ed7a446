import Cryptography
import Diagnostics
import JOSESignature
import KMSClient
import KMSProtocol
import Synchronization
import Testing
import WireText

@Suite("Opening a session with ML-KEM-768 beside P-256")
struct PostQuantumOpeningTests {
    let clock = TestClock()
    let kms: TestKMS
    let key: VerifiedStaticKey

    init() throws {
        kms = try TestKMS(clock: clock)
        key = try kms.verifiedKey()
    }

    private func answer(_ opening: SessionOpening) throws -> KMSAnswer {
        let text = try #require(try kms.answer(opening.text))
        guard case .answer(let answer) = try SignedMessage(text, signedBy: key) else { throw TestFailure("a reset") }
        return answer
    }

    /// Whether the KMS answers a request under the session: both halves have the same key.
    private func works(_ session: KMSClientSession) throws -> Bool {
        let request = try session.wrap(.ping, as: TestKMS.credential(), at: clock.now)
        guard let text = try? kms.answer(request.text), let reply = try? session.open(text) else { return false }
        return reply.status == 200
    }

    private func ephemeral(_ answer: KMSAnswer) throws -> KMSEphemeralKey {
        guard case .ephemeralKey(let key) = answer.body else { throw TestFailure("no key") }
        return key
    }

    @Test(
        "Both halves derive the same key, whether it is offered and taken or not",
        arguments: [PostQuantumUse.off, .preferred, .required], [true, false])
    func opens(use: PostQuantumUse, taken: Bool) throws {
        kms.state.withLock { $0.takesPostQuantum = taken }
        let opening = try SessionOpening(to: key, as: TestKMS.credential(), at: clock.now, postQuantum: use)
        let answer = try answer(opening)
        #expect(try ephemeral(answer).ciphertext?.count == (taken && use != .off ? 1088 : nil))
        if use == .required && !taken {
            let error = #expect(throws: DiagnosedError.self) { _ = try opening.finish(answer, at: clock.now) }
            #expect(error?.code == .kmsSession)
            #expect(error?.hint?.contains("post-quantum") == true)
        } else {
            #expect(try works(opening.finish(answer, at: clock.now)))
        }
    }

    @Test("The secret of ML-KEM-768 is part of the key: P-256 alone, or another ciphertext, gives another session")
    func isPartOfTheKey() throws {
        for change: (inout [UInt8]?) -> Void in [
            { $0 = nil }, { $0?[500] ^= 1 }, { $0 = [UInt8](repeating: 3, count: 1088) },
        ] {
            let opening = try SessionOpening(to: key, as: TestKMS.credential(), at: clock.now)
            var answer = try answer(opening)
            var offered = try ephemeral(answer)
            #expect(try works(opening.finish(answer, at: clock.now)))
            change(&offered.ciphertext)
            answer.body = .ephemeralKey(offered)
            #expect(try !works(opening.finish(answer, at: clock.now)))
        }
    }

    @Test("An acceptance of an offer that was not made is refused")
    func unasked() throws {
        let with = try SessionOpening(to: key, as: TestKMS.credential(), at: clock.now)
        let ciphertext = try ephemeral(answer(with)).ciphertext
        let without = try SessionOpening(to: key, as: TestKMS.credential(), at: clock.now, postQuantum: .off)
        var answer = try answer(without)
        var offered = try ephemeral(answer)
        offered.ciphertext = ciphertext
        answer.body = .ephemeralKey(offered)
        #expect(code { _ = try without.finish(answer, at: clock.now) } == .kmsSession)
    }

    @Test("A core that strips the acceptance breaks the KMS's signature")
    func stripped() throws {
        let opening = try SessionOpening(to: key, as: TestKMS.credential(), at: clock.now)
        let text = try #require(try kms.answer(opening.text))
        let parts = text.split(separator: ".")
        let payload = try #require(Base64URL.decode(String(parts[1])))
        let json = String(decoding: payload, as: UTF8.self)
        let start = try #require(json.firstRange(of: "\"postQuantum\":")).lowerBound
        let end = try #require(json[start...].firstIndex(of: "}"))
        var cut = json
        cut.removeSubrange(start...cut.index(after: end))
        #expect(KMSAnswer(try JSONDocument(text: cut).root) != nil)
        let changed = "\(parts[0]).\(Base64URL.encode(Array(cut.utf8))).\(parts[2])"
        #expect(throws: DiagnosedError.self) { _ = try SignedMessage(changed, signedBy: key) }
    }
}
