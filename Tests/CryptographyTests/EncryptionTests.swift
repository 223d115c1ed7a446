import Cryptography
import Diagnostics
import Encryption
import SecretMemory
import Testing
import WireText

@Suite("Encryption")
struct EncryptionTests {
    let key = SymmetricKey(copying: [UInt8](0..<32))
    let nonce = [UInt8](1...12)

    private func bytes(_ secret: borrowing SecretBytes) -> [UInt8] { secret.withUnsafeBytes { Array($0) } }

    @Test("what was sealed opens, whatever its size", arguments: [0, 1, 15, 16, 17, 1000, 70_000, 1 << 20])
    func sizes(count: Int) throws {
        let message = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let (ciphertext, tag) = try AESGCM.seal(message, key: key, nonce: nonce, aad: [9])
        #expect(ciphertext.count == count && tag.count == 16)
        #expect(try bytes(AESGCM.open(ciphertext, tag: tag, key: key, nonce: nonce, aad: [9])) == message)
    }

    @Test("one changed bit anywhere, and nothing opens; the error never says where")
    func tampering() throws {
        let message = Array("attack at dawn".utf8)
        let sealed = try AESGCM.seal(message, key: key, nonce: nonce, aad: Array("header".utf8))
        let other = SymmetricKey(copying: [UInt8](1..<33))
        func flipped(_ bytes: [UInt8]) -> [UInt8] { [bytes[0] ^ 1] + bytes.dropFirst() }
        let attempts: [() throws -> SecretBytes] = [
            { try AESGCM.open(flipped(sealed.0), tag: sealed.1, key: key, nonce: nonce, aad: Array("header".utf8)) },
            { try AESGCM.open(sealed.0, tag: flipped(sealed.1), key: key, nonce: nonce, aad: Array("header".utf8)) },
            { try AESGCM.open(sealed.0, tag: sealed.1, key: key, nonce: flipped(nonce), aad: Array("header".utf8)) },
            { try AESGCM.open(sealed.0, tag: sealed.1, key: key, nonce: nonce, aad: Array("Header".utf8)) },
            { try AESGCM.open(sealed.0, tag: sealed.1, key: other, nonce: nonce, aad: Array("header".utf8)) },
            { try AESGCM.open([], tag: sealed.1, key: key, nonce: nonce, aad: Array("header".utf8)) },
        ]
        var texts: Set<String> = []
        for attempt in attempts {
            do { _ = try attempt() } catch let error as DiagnosedError { texts.insert(error.description) }
        }
        #expect(texts == ["the ciphertext does not open [decryption-failed]"])
    }

    @Test("other sizes of key, nonce and tag are refused clearly")
    func parameters() throws {
        for (key, nonce) in [([UInt8](0..<16), nonce), ([UInt8](0..<24), nonce), ([], nonce)] {
            let error = #expect(throws: DiagnosedError.self) {
                try AESGCM.seal([1], key: SymmetricKey(copying: key), nonce: nonce)
            }
            #expect(error?.code == .encryptionParameters)
        }
        for nonce in [[], [UInt8](0..<11), [UInt8](0..<13), [UInt8](0..<16)] {
            #expect(throws: DiagnosedError.self) { try AESGCM.seal([1], key: key, nonce: nonce) }
        }
        let (ciphertext, tag) = try AESGCM.seal([1], key: key, nonce: nonce)
        for size in [0, 4, 12, 15] {
            let error = #expect(throws: DiagnosedError.self) {
                _ = try AESGCM.open(ciphertext, tag: Array(tag.prefix(size)), key: key, nonce: nonce)
            }
            #expect(error?.code == .encryptionParameters)
        }
    }

    @Test("in pieces is as at once", arguments: [1, 16, 33, 4096])
    func pieces(size: Int) throws {
        let message = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        let whole = try AESGCM.seal(message, key: key, nonce: nonce, aad: [1, 2])
        var sealer = try AESGCM.Sealer(key: key, nonce: nonce, aad: [1, 2])
        var opener = try AESGCM.Opener(key: key, nonce: nonce, aad: [1, 2])
        var ciphertext: [UInt8] = [], plain: [UInt8] = []
        for start in stride(from: 0, to: message.count, by: size) {
            let piece = try sealer.update(Array(message[start..<min(start + size, message.count)]))
            ciphertext += piece
            plain += try opener.update(piece)
        }
        let tag = try sealer.finish()
        try opener.finish(tag: tag)
        #expect(ciphertext == whole.ciphertext && tag == whole.tag && plain == message)
    }

    @Test("an opener refuses a wrong tag, a short tag and a missing end")
    func openerRefusals() throws {
        let (ciphertext, tag) = try AESGCM.seal([1, 2, 3, 4], key: key, nonce: nonce)
        for (text, tag) in [
            (ciphertext, [tag[0] ^ 1] + tag.dropFirst()), (ciphertext, Array(tag.prefix(12))),
            (Array(ciphertext.dropLast()), tag), ([], tag),
        ] {
            var opener = try AESGCM.Opener(key: key, nonce: nonce, aad: [])
            _ = try opener.update(text)
            var code: DiagnosedError.Code?
            do { try opener.finish(tag: tag) } catch { code = (error as? DiagnosedError)?.code }
            #expect(code == .decryptionFailed)
        }
    }

    @Test("RSA-OAEP round trips with both digests and keeps them apart")
    func oaep() throws {
        let privateKey = try PrivateKey(pem: Fixture.pkcs1Key)
        let message = Array("0123456789abcdef0123456789abcdef".utf8)
        for digest in [RSAOAEP.Digest.sha1, .sha256] {
            let ciphertext = try message.withUnsafeBytes {
                try RSAOAEP.encrypt($0, to: privateKey.publicKey, digest: digest, label: [7])
            }
            #expect(ciphertext.count == 256)
            #expect(try bytes(RSAOAEP.decrypt(ciphertext, with: privateKey, digest: digest, label: [7])) == message)
            let other: RSAOAEP.Digest = digest == .sha1 ? .sha256 : .sha1
            let attempts: [() throws -> SecretBytes] = [
                { try RSAOAEP.decrypt(ciphertext, with: privateKey, digest: other, label: [7]) },
                { try RSAOAEP.decrypt(ciphertext, with: privateKey, digest: digest) },
                { try RSAOAEP.decrypt(Array(ciphertext.dropLast()), with: privateKey, digest: digest, label: [7]) },
                { try RSAOAEP.decrypt(ciphertext + [0], with: privateKey, digest: digest, label: [7]) },
                { try RSAOAEP.decrypt([UInt8](repeating: 0xFF, count: 256), with: privateKey, digest: digest) },
                { try RSAOAEP.decrypt([], with: privateKey, digest: digest) },
            ]
            for attempt in attempts {
                do {
                    _ = try attempt()
                    Issue.record("opened")
                } catch let error as DiagnosedError {
                    #expect(error.description == "the ciphertext does not open [decryption-failed]")
                }
            }
        }
    }

    @Test("a wrapped key that does not unwrap becomes a random one, each time another")
    func unwrap() throws {
        let privateKey = try PrivateKey(pem: Fixture.pkcs1Key)
        let wrapped = try key.withUnsafeBytes {
            try RSAOAEP.encrypt($0, to: privateKey.publicKey, digest: .sha1)
        }
        #expect(try RSAOAEP.unwrapKey(wrapped, with: privateKey, digest: .sha1).isEqual(to: key))
        let short = try [UInt8](0..<16).withUnsafeBytes {
            try RSAOAEP.encrypt($0, to: privateKey.publicKey, digest: .sha1)
        }
        for wrong in [short, [], [UInt8](repeating: 1, count: 256)] {
            let first = try RSAOAEP.unwrapKey(wrong, with: privateKey, digest: .sha1)
            let second = try RSAOAEP.unwrapKey(wrong, with: privateKey, digest: .sha1)
            #expect(first.count == 32 && !first.isEqual(to: second) && !first.isEqual(to: key))
        }
    }

    @Test("RSA-OAEP refuses keys of other kinds and messages that do not fit")
    func oaepRefusals() throws {
        let ec = try PrivateKey.generateP256()
        #expect(throws: DiagnosedError.self) {
            try [UInt8](0..<32).withUnsafeBytes { try RSAOAEP.encrypt($0, to: ec.publicKey, digest: .sha1) }
        }
        #expect(throws: DiagnosedError.self) {
            _ = try RSAOAEP.decrypt([UInt8](repeating: 1, count: 256), with: ec, digest: .sha1)
        }
        let rsa = try PrivateKey(pem: Fixture.pkcs1Key)
        #expect(throws: DiagnosedError.self) {
            try [UInt8](repeating: 0, count: 215).withUnsafeBytes {
                try RSAOAEP.encrypt($0, to: rsa.publicKey, digest: .sha1)
            }
        }
    }

    @Test("both sides of an agreement come to the same 32 octets")
    func agreement() throws {
        let (left, right) = (try P256Agreement.generate(), try P256Agreement.generate())
        let first = try left.sharedSecret(withX: right.publicX, y: right.publicY)
        let second = try right.sharedSecret(withX: left.publicX, y: left.publicY)
        #expect(first.count == 32 && first.isEqual(to: second))
        #expect(left.publicX != right.publicX && left.publicX.count == 32 && left.publicY.count == 32)
        #expect(Mirror(reflecting: left).children.isEmpty)
        #expect(throws: DiagnosedError.self) { try left.sharedSecret(withX: right.publicY, y: right.publicX) }
        #expect(throws: DiagnosedError.self) { try P256Agreement(privateScalar: [0]) }
    }

    @Test("HKDF refuses sizes that it can not give")
    func hkdfSizes() throws {
        for count in [0, -1, HKDFSHA256.maximumCount + 1] {
            #expect(throws: DiagnosedError.self) { try HKDFSHA256.derive(from: key, count: count) }
        }
        let short = SymmetricKey(copying: [1, 2, 3])
        #expect(throws: DiagnosedError.self) { try HKDFSHA256.expand(short, info: [], count: 32) }
        #expect(try HKDFSHA256.derive(from: short, count: HKDFSHA256.maximumCount).count == HKDFSHA256.maximumCount)
    }

    @Test("keys, agreements and tags come out right when many threads ask at once")
    func concurrency() async throws {
        let signing = try PrivateKey.generateP256()
        let rsa = try PrivateKey(pem: Fixture.pkcs1Key)
        let peer = try P256Agreement.generate()
        let tag = HMACSHA256.code(for: [1, 2, 3], key: key)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for worker in UInt8(0)..<8 {
                group.addTask {
                    for _ in 0..<20 {
                        let own = try P256Agreement.generate()
                        let ours = try own.sharedSecret(withX: peer.publicX, y: peer.publicY)
                        let theirs = try peer.sharedSecret(withX: own.publicX, y: own.publicY)
                        let signature = try signing.sign([worker], algorithm: .es256)
                        let other = try rsa.sign([worker], algorithm: .ps256)
                        let sealed = try AESGCM.seal([worker], key: ours, nonce: nonce)
                        let opened = try AESGCM.open(sealed.ciphertext, tag: sealed.tag, key: theirs, nonce: nonce)
                        guard ours.isEqual(to: theirs), bytes(opened) == [worker],
                            signing.publicKey.isValidSignature(signature, for: [worker], algorithm: .es256),
                            rsa.publicKey.isValidSignature(other, for: [worker], algorithm: .ps256),
                            HMACSHA256.code(for: [1, 2, 3], key: key) == tag
                        else { return false }
                    }
                    return true
                }
            }
            for try await isRight in group { #expect(isRight) }
        }
    }
}
