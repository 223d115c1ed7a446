import Cryptography
import Diagnostics
import SecretMemory
import Testing
import WireText

@Suite("Passwords")
struct PasswordHashTests {
    @Test("scrypt gives what RFC 7914, section 12, says")
    func known() throws {
        let key = try Array("pleaseletmein".utf8).withUnsafeBytes {
            try PasswordHash.derive(password: $0, salt: Array("SodiumChloride".utf8), logN: 14, count: 64)
        }
        let expected = """
            7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2\
            d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887
            """
        #expect(key.withUnsafeBytes { Hexadecimal.encode(Array($0)) } == expected)
    }

    @Test("a password verifies against its own line and no other does")
    func verify() throws {
        let line = try PasswordHash.hash("correct horse")
        #expect(line.hasPrefix("scrypt$ln=15,r=8,p=1$") && PasswordHash.isHash(line))
        #expect(PasswordHash.verify("correct horse", against: line))
        for other in ["", "correct hors", "Correct horse", "correct horse "] {
            #expect(!PasswordHash.verify(other, against: line))
        }
        #expect(try PasswordHash.hash("correct horse") != line, "each line has a salt of its own")
    }

    @Test("the empty password and others than ASCII are passwords too", arguments: ["", "pässwörd 🔒"])
    func unusual(password: String) throws {
        let line = try PasswordHash.hash(password)
        #expect(PasswordHash.verify(password, against: line) && !PasswordHash.verify(password + "x", against: line))
    }

    @Test(
        "lines of another form or with parameters out of bounds are no hashes",
        arguments: [
            "", "$", "scrypt", "scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA", "plain",
            "scrypt$ln=40,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "scrypt$ln=9,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "scrypt$ln=15,r=1000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "scrypt$ln=18,r=16,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "scrypt$ln=15,r=8,p=99$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "scrypt$ln=-1,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "scrypt$ln=15,r=8,p=1$$AAAAAAAAAAAAAAAAAAAAAA", "scrypt$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$",
            "scrypt$r=8,ln=15,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
            "argon2id$ln=15,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
        ])
    func malformed(line: String) {
        #expect(!PasswordHash.verify("", against: line) && !PasswordHash.isHash(line))
    }

    @Test("keys are derived within bounds only")
    func bounds() {
        for (salt, logN, count) in [([UInt8](), 14, 32), ([1], 30, 32), ([1], 1, 32), ([1], 14, 8)] {
            #expect(throws: DiagnosedError.self) {
                try [UInt8](0..<4).withUnsafeBytes {
                    try PasswordHash.derive(password: $0, salt: salt, logN: logN, count: count)
                }
            }
        }
    }
}
