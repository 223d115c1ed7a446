import Cryptography
import Diagnostics
import JOSESignature
import PolicyFiles
import SecretMemory
import SignedPolicy
import TestServers
import Testing
import WireText

@Suite("Officers")
struct OfficerTests {
    @Test("the file of officers reads back what was enrolled")
    func roundTrip() throws {
        let cast = try Cast()
        let read = try OfficerRoster(json: cast.roster.json())
        #expect(read == cast.roster)
        #expect(read[cast.bob.officer.kid]?.id == "bob")
        #expect(read[try #require(JWK.thumbprint(of: cast.eve.publicKey))] == nil)
    }

    @Test("two officers share neither an id nor a key: one person would be two")
    func unique() throws {
        let key = try PrivateKey.generateP256().publicKey, other = try PrivateKey.generateP256().publicKey
        let ada = try Officer(id: "ada", name: "Ada", publicKey: key, duties: [.policy])
        for second in [
            try Officer(id: "ada", name: "Ada B", publicKey: other, duties: []),
            try Officer(id: "bob", name: "Bob", publicKey: key, duties: [.fourEyes]),
        ] {
            #expect(Cast.error { try OfficerRoster([ada, second]) }?.code == .officersMalformed)
        }
        for name in ["", " Ada", "Ada\u{202E}"] {
            #expect(throws: DiagnosedError.self) { try Officer(id: "ada", name: name, publicKey: key, duties: []) }
        }
        #expect(throws: DiagnosedError.self) { try Officer(id: "Ada", name: "Ada", publicKey: key, duties: []) }
    }

    @Test(
        "an entry that is not exactly one is refused",
        arguments: [
            ("\"duties\":[\"policy\"", "\"duties\":[\"king\"", "there is no such duty"),
            ("\"id\":\"ada\"", "\"id\":\"Ada\"", "no name"),
            ("\"id\":", "\"more\":1,\"id\":", "there is no member 'more'"),
            ("\"kty\":\"EC\"", "\"kty\":\"oct\"", "not supported"),
            ("\"use\":\"sig\"", "\"use\":\"enc\"", "another use"),
            ("{\"officers\":", "{\"keys\":", "there is no member 'keys'"),
        ])
    func strict(part: String, replacement: String, reason: String) throws {
        let key = try PrivateKey.generateP256().publicKey
        let roster = try OfficerRoster([Officer(id: "ada", name: "Ada", publicKey: key, duties: [.policy])])
        let text = String(decoding: roster.json(), as: UTF8.self)
        let range = try #require(text.firstRange(of: part))
        let changed = Array(text.replacingCharacters(in: range, with: replacement).utf8)
        let error = Cast.error { try OfficerRoster(json: changed) }
        #expect(error?.code == .officersMalformed)
        #expect(error?.summary.contains(reason) == true, "\(error?.description ?? "accepted")")
    }

    @Test("a key under another key's name is refused")
    func foreignName() throws {
        let cast = try Cast()
        let text = String(decoding: cast.roster.json(), as: UTF8.self)
        let range = try #require(text.firstRange(of: cast.ada.officer.kid))
        let other = try #require(JWK.thumbprint(of: cast.eve.publicKey))
        let changed = Array(text.replacingCharacters(in: range, with: other).utf8)
        #expect(Cast.error { try OfficerRoster(json: changed) }?.summary.contains("thumbprint") == true)
    }

    @Test("an officer's key lies encrypted in a file of mode 0600 and opens with its passphrase alone")
    func keyFile() throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/officer.pem"
        let passphrase = SecretBytes(copying: Array("four words that differ".utf8))
        let key = try OfficerKeyFile.create(path, passphrase: passphrase)
        #expect(try OfficerKeyFile.open(path, passphrase: passphrase).publicKey == key.publicKey)
        #expect(try folder.contents(of: "officer.pem").hasPrefix("-----BEGIN ENCRYPTED PRIVATE KEY-----"))
        let wrong = SecretBytes(copying: Array("four words that differ!".utf8))
        #expect(throws: DiagnosedError.self) { try OfficerKeyFile.open(path, passphrase: wrong) }
        #expect(throws: DiagnosedError.self) { try OfficerKeyFile.create(path, passphrase: passphrase) }
        let short = SecretBytes(copying: Array("eleven char".utf8))
        #expect(throws: DiagnosedError.self) {
            try OfficerKeyFile.create(folder.path + "/short.pem", passphrase: short)
        }
        #expect(folder.names(in: "") == ["officer.pem"])
    }

    @Test("a key or a passphrase that others can read is refused", arguments: [0o644, 0o640, 0o660] as [UInt32])
    func modes(mode: UInt32) throws {
        let folder = TemporaryFolder()
        let path = folder.path + "/secret"
        try OwnFile.write(Array("four words that differ\nsecond line".utf8), toNew: path)
        let secret = try OfficerKeyFile.passphrase(inFile: path)
        #expect(secret.withUnsafeBytes { Array($0) } == Array("four words that differ".utf8))
        #expect(changeMode(path, mode))
        #expect(throws: DiagnosedError.self) { _ = try OfficerKeyFile.passphrase(inFile: path) }
        #expect(throws: DiagnosedError.self) { _ = try OwnFile.readSecret(folder.path, upTo: 100) }
    }
}
