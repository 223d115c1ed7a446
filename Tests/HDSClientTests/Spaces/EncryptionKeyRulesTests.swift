import KMSProtocol
import SecretMemory
import Testing
import WireText

@testable import HDSClient

@Suite("Which key may encrypt")
struct EncryptionKeyRulesTests {
    let now = Timestamp.now()
    let resource = "kms://kms.example.com/resources/\(UUIDText.random())"
    let uri = "kms://kms.example.com/keys/\(UUIDText.random())"

    private func key(bound: Int64? = -100, expires: Int64 = 1000, resource: String? = nil) -> KMSKey {
        KMSKey(
            uri: uri, key: SymmetricKey(copying: [UInt8](repeating: 1, count: 32)), userID: "u", clientID: "c",
            createDate: now, expirationDate: now.adding(seconds: expires), resourceURI: resource ?? self.resource,
            bindDate: bound.map { now.adding(seconds: $0) })
    }

    private func membership(
        removal: Int64? = nil, keys: [String]? = nil, authorizations: [String] = ["a"]
    ) -> EncryptionKeyRules.Membership {
        .init(
            resource: KMSResource(
                uri: resource, keyURIs: keys ?? [uri], authorizationURIs: authorizations,
                lastRemovalDate: removal.map { now.adding(seconds: $0) }), checked: now)
    }

    private func judge(
        _ key: KMSKey, _ membership: EncryptionKeyRules.Membership, stale: Set<String> = []
    ) -> EncryptionKeyRules.Refusal? {
        EncryptionKeyRules.judge(
            key, of: membership, memory: .init(resource: resource, staleKeys: stale), now: now)
    }

    @Test("A key of the space that was bound after the last removal may encrypt")
    func good() {
        #expect(judge(key(), membership()) == nil)
        #expect(judge(key(bound: -100), membership(removal: -101)) == nil)
    }

    @Test("A key of another space, of none, or that the KMS does not list may not")
    func otherSpace() {
        #expect(
            judge(key(resource: "kms://kms.example.com/resources/\(UUIDText.random())"), membership()) == .otherSpace)
        #expect(judge(key(bound: nil), membership()) == .otherSpace)
        #expect(judge(key(), membership(keys: [])) == .notListed)
    }

    @Test("A key past its date may not")
    func expired() {
        #expect(judge(key(expires: 0), membership()) == .expired)
        #expect(judge(key(expires: 1), membership()) == nil)
    }

    @Test("A key bound before the last removal, or in the same moment, may not")
    func beforeRemoval() {
        #expect(judge(key(bound: -100), membership(removal: -99)) == .beforeRemoval)
        #expect(judge(key(bound: -100), membership(removal: -100)) == .beforeRemoval)
    }

    @Test("Without the KMS's word, a key that was bound when a removal was noticed may not")
    func stale() {
        #expect(judge(key(), membership(), stale: [uri]) == .beforeRemoval)
        // The KMS's word is better than what was guessed.
        #expect(judge(key(bound: -10), membership(removal: -20), stale: [uri]) == nil)
    }

    @Test("An authorization that is gone makes all keys of now stale; one that came does not")
    func memory() {
        let start = ClientState.SpaceMemory(resource: resource, authorizations: ["a", "b"], staleKeys: [])
        let same = EncryptionKeyRules.memory(start, after: membership(authorizations: ["a", "b", "c"]))
        #expect(same.staleKeys.isEmpty)
        #expect(same.authorizations == ["a", "b", "c"])
        let removed = EncryptionKeyRules.memory(
            same, after: membership(keys: [uri, "k2"], authorizations: ["a", "c"]))
        #expect(removed.staleKeys == [uri, "k2"])
        // A key bound afterwards is not stale, and keys that are gone are forgotten.
        let later = EncryptionKeyRules.memory(
            removed, after: membership(keys: ["k2", "k3"], authorizations: ["a", "c"]))
        #expect(later.staleKeys == ["k2"])
    }

    @Test(
        "Names of files from others lose folders, hiding, control characters and turned directions",
        arguments: [
            ("report.pdf", "report.pdf"), ("../../etc/passwd", "passwd"), ("/etc/shadow", "shadow"),
            ("a\\b\\c.txt", "c.txt"),
            (".bashrc", "bashrc"), ("..", ""), ("...hidden", "hidden"), ("", ""), ("/", ""),
            ("a\u{0}b\nc\u{1B}[31m", "abc[31m"),
            ("x\u{202E}gpj.exe", "xgpj.exe"), ("größe 🔒.txt", "größe 🔒.txt"),
        ])
    func fileNames(name: String, expected: String) { #expect(Spaces.fileName(name) == expected) }

    @Test("A long name is cut at a character")
    func longName() {
        let name = Spaces.fileName(String(repeating: "ä", count: 500))
        #expect(name.utf8.count == 200)
    }
}
