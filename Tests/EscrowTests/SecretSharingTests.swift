import Cryptography
import Diagnostics
import Escrow
import SecretMemory
import Testing
import WireText

func share(_ words: String) throws -> Share {
    try Array(words.utf8).withUnsafeBytes { try Share(words: $0) }
}

func hex(_ key: SymmetricKey) -> String { key.withUnsafeBytes { Hexadecimal.encode(Array($0)) } }

func words(_ share: Share) -> String {
    let words = share.words()
    return words.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
}

/// All ways to take `count` of the elements.
func subsets<T>(_ elements: [T], of count: Int) -> [[T]] {
    guard count > 0, let first = elements.first else { return count == 0 ? [[]] : [] }
    let rest = Array(elements.dropFirst())
    return subsets(rest, of: count - 1).map { [first] + $0 } + subsets(rest, of: count)
}

@Suite("Shares of a secret (SLIP-39)")
struct SecretSharingTests {
    @Test("public vectors", arguments: PublicVector.all)
    func vectors(_ vector: PublicVector) throws {
        let passphrase = SymmetricKey(copying: Array("TREZOR".utf8))
        func recovered() throws -> String {
            hex(try SecretSharing.combine(try vector.shares.map(share), passphrase: passphrase))
        }
        guard vector.secret.isEmpty else {
            #expect(try recovered() == vector.secret)
            return
        }
        #expect(throws: DiagnosedError.self) { try recovered() }
    }

    @Test("the vectors are read, and valid words come back as they were written")
    func roundTrip() throws {
        #expect(PublicVector.all.count == 25)
        for vector in PublicVector.all where !vector.secret.isEmpty {
            for text in vector.shares { #expect(words(try share(text)) == text) }
        }
    }

    @Test(
        "any k of n shares give the secret, in any order, and fewer do not",
        arguments: [(2, 2), (2, 3), (3, 5), (5, 5), (2, 16)])
    func thresholds(_ needed: Int, _ made: Int) throws {
        let secret = try SymmetricKey.random()
        let shares = try SecretSharing.split(secret, threshold: needed, count: made, iterationExponent: 0)
        let written = shares.map(words)
        #expect(Set(written).count == made && written.allSatisfy { $0.split(separator: " ").count == 33 })
        for subset in subsets(written, of: needed).shuffled().prefix(12) {
            let read = try subset.reversed().map(share)
            #expect(try SecretSharing.combine(read).isEqual(to: secret))
        }
        #expect(try SecretSharing.combine(shares).isEqual(to: secret), "more than enough are taken too")
        let error = #expect(throws: DiagnosedError.self) {
            try SecretSharing.combine(Array(shares.prefix(needed - 1)))
        }
        #expect(error?.code == .sharesMissing && error?.expected == "\(needed)" && error?.found == "\(needed - 1)")
    }

    @Test("fewer shares than needed fit every secret")
    func fewerTellNothing() throws {
        // With k = 2, one share and any secret lie on one line: the same share comes out of two different secrets.
        let fixed: @Sendable (Int) throws -> SecretBytes = { SecretBytes(copying: [UInt8](repeating: 7, count: $0)) }
        let one = try SecretSharing.split(
            SymmetricKey(copying: [UInt8](repeating: 1, count: 32)), threshold: 3, count: 5, iterationExponent: 0,
            random: fixed)
        let other = try SecretSharing.split(
            SymmetricKey(copying: [UInt8](repeating: 2, count: 32)), threshold: 3, count: 5, iterationExponent: 0,
            random: fixed)
        #expect(words(one[0]) == words(other[0]) && words(one[1]) != words(other[1]))
    }

    @Test("a passphrase is part of the secret: another one gives another secret")
    func passphrase() throws {
        let secret = try SymmetricKey.random()
        let right = SymmetricKey(copying: Array("right".utf8)), wrong = SymmetricKey(copying: Array("wrong".utf8))
        let shares = try SecretSharing.split(
            secret, threshold: 2, count: 2, passphrase: right, iterationExponent: 0)
        #expect(try SecretSharing.combine(shares, passphrase: right).isEqual(to: secret))
        #expect(try !SecretSharing.combine(shares, passphrase: wrong).isEqual(to: secret))
    }

    @Test("1 of n is refused, and so is every other impossible sharing", arguments: [(1, 1), (1, 3), (3, 2), (2, 17)])
    func impossible(_ needed: Int, _ made: Int) throws {
        let secret = try SymmetricKey.random()
        let error = #expect(throws: DiagnosedError.self) {
            try SecretSharing.split(secret, threshold: needed, count: made)
        }
        #expect(error?.code == .escrowParameters)
    }

    @Test("a slip of one to three words is always found, and the error does not repeat the words")
    func slips() throws {
        var random = SystemRandomNumberGenerator()
        let text = words(
            try SecretSharing.split(try SymmetricKey.random(), threshold: 2, count: 2, iterationExponent: 0)[0])
        let all = text.split(separator: " ").map(String.init)
        let list = PublicVector.all.flatMap(\.shares).flatMap { $0.split(separator: " ").map(String.init) }
        var texts: Set<String> = []
        for _ in 0..<200 {
            var changed = all
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                changed[Int.random(in: 0..<33, using: &random)] = list.randomElement(using: &random) ?? "academic"
            }
            guard changed != all else { continue }
            let error = #expect(throws: DiagnosedError.self) { try share(changed.joined(separator: " ")) }
            #expect(error?.code == .shareMalformed)
            texts.insert("\(error?.summary ?? "") \(error?.expected ?? "") \(error?.found ?? "") \(error?.hint ?? "")")
        }
        // Nothing of the share can be in a text that is the same for all of them.
        #expect(texts.count == 1, "\(texts)")
    }

    @Test("words may stand in lines, in upper case, with spaces around; an unknown word is named by its place")
    func forms() throws {
        let text = words(
            try SecretSharing.split(try SymmetricKey.random(), threshold: 2, count: 2, iterationExponent: 0)[1])
        let spread = "\n " + text.uppercased().split(separator: " ").joined(separator: " \r\n\t") + "\n"
        #expect(words(try share(spread)) == text)
        var strange = text.split(separator: " ").map(String.init)
        strange[6] = "password"
        let error = #expect(throws: DiagnosedError.self) { try share(strange.joined(separator: " ")) }
        #expect(error?.summary.contains("word 7") == true && error?.summary.contains("password") == false)
        for text in ["", "academic", String(repeating: "academic ", count: 65), "\u{0}\u{0}"] {
            #expect(throws: DiagnosedError.self) { try share(text) }
        }
    }

    @Test("a forged share among enough is found, whichever it is, and also among more than enough")
    func forged() throws {
        let shares = try SecretSharing.split(try SymmetricKey.random(), threshold: 3, count: 5, iterationExponent: 0)
        let others = try SecretSharing.split(
            try SymmetricKey.random(), threshold: 3, count: 5, iterationExponent: 0)
        // Same identifier, another value: what a holder could make who wants recovery to fail unseen.
        let forged = others[4].withIdentifier(shares[4].identifier)
        for chosen in [[shares[0], shares[1], forged], [shares[0], shares[1], shares[2], forged]] {
            let error = #expect(throws: DiagnosedError.self) { try SecretSharing.combine(chosen) }
            #expect(error?.code == .sharesMismatch)
        }
        #expect(throws: DiagnosedError.self) { try SecretSharing.combine([shares[0], shares[1], others[2]]) }
    }
}
