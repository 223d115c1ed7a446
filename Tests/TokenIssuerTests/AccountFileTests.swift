import Diagnostics
import Testing
import TokenIssuer

@Suite("Accounts file")
struct AccountFileTests {
    private static let whole = """
        # all keys
        organisation: org-1
        users:
          - id: 5B1E3C4E-8F10-4C4C-9A3E-0A2C5F1D7B01
            email: Alice@example.com
            name: Alice Example
            password-hash: \(TestWorld.aliceHash)
          - id: 5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b02
            email: bob@example.com
            name: "Bob"
            organisation: org-2
            password-hash: \(TestWorld.bobHash)
            disabled: true
        services:
          - id: hds-kms
            name: The KMS
            secret-hash: \(TestWorld.serviceHash)
            audiences:
              cloud: [link:kms]
              kms: []
        clients:
          - id: web-app
            name: Web
            redirect-uris:
              - https://app.example.com/cb
              - http://127.0.0.1/cb
            scopes: [hds, extra]
        """

    private func error(_ text: String) -> String {
        do {
            _ = try AccountFile.parse(text, file: "accounts.yaml")
            return "no error"
        } catch {
            return error.description
        }
    }

    @Test("Every key is read")
    func everyKey() throws {
        let accounts = try AccountFile.parse(Self.whole, file: "accounts.yaml")
        let alice = try #require(accounts.user(email: " alice@EXAMPLE.com"))
        #expect(alice.id == "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01")
        #expect(alice.email == "Alice@example.com")
        #expect(alice.organisation == "org-1")
        #expect(!alice.isDisabled)
        let bob = try #require(accounts.user(id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b02"))
        #expect(bob.organisation == "org-2")
        #expect(bob.isDisabled)
        let service = try #require(accounts.service(id: "hds-kms"))
        #expect(service.audiences == [.cloud: ["link:kms"], .kms: []])
        #expect(service.organisation == "org-1")
        #expect(accounts.client(id: "web-app")?.scopes == ["hds", "extra"])
        #expect(accounts.client(id: "hds-cli") == .commandLine)
    }

    @Test("An empty file, or one with empty lists, has the command line client and nobody else")
    func empty() throws {
        for text in ["", "# nothing\n", "users:\nservices: []\n"] {
            let accounts = try AccountFile.parse(text, file: "f")
            #expect(accounts.users.isEmpty && accounts.services.isEmpty)
            #expect(accounts.clients == [.commandLine])
        }
    }

    @Test("The example in config/ is valid, and names every key")
    func example() throws {
        let text = try Repository.text("config/accounts.example.yaml")
        let accounts = try AccountFile.parse(text, file: "accounts.example.yaml")
        #expect(!accounts.users.isEmpty && !accounts.services.isEmpty && accounts.clients.count > 1)
        for key in [
            "organisation", "users", "services", "clients", "id", "email", "name", "password-hash", "disabled",
            "secret-hash", "audiences", "redirect-uris", "scopes", "introspects", "key-thumbprint", "token-format",
        ] {
            #expect(text.contains("\(key):"), "\(key)")
        }
    }

    @Test(
        "What a service may ask about, its key and the form of its tokens are read, and nothing else is taken for them")
    func identityKeys() throws {
        func service(_ more: String) throws -> ServiceAccount? {
            try AccountFile.parse(
                """
                organisation: o
                services:
                  - id: s
                    secret-hash: \(TestWorld.serviceHash)
                    audiences: {kms: [index]}
                    \(more)
                """, file: "f"
            ).service(id: "s")
        }
        let plain = try #require(try service(""))
        #expect(plain.introspects.isEmpty && plain.keyThumbprint == nil && plain.tokenFormats.isEmpty)
        #expect(try service("introspects: [kms, cloud]")?.introspects == [.kms, .cloud])
        #expect(try service("key-thumbprint: \(TestWorld.indexerKey)")?.keyThumbprint == TestWorld.indexerKey)
        #expect(try service("token-format: {kms: opaque, cloud: jwt}")?.tokenFormats == [.kms: .opaque, .cloud: .jwt])
        for wrong in [
            "introspects: [all]", "introspects: kms", "key-thumbprint: short", "key-thumbprint: ''",
            "token-format: opaque", "token-format: {kms: JWT}", "token-format: {other: jwt}",
        ] {
            #expect(throws: DiagnosedError.coded(.accountsFile), "\(wrong)") { try service(wrong) }
        }
    }

    @Test("A service that is added by command can have a key and ask about tokens")
    func addedService() throws {
        let entry = AccountFileEdit.Entry.service(
            id: "kms2", name: "K", organisation: "o", secretHash: TestWorld.serviceHash, audiences: [.kms: []],
            introspects: [.kms], keyThumbprint: TestWorld.indexerKey)
        let text = try AccountFileEdit.inserting(entry, into: .services, of: "", file: "f")
        let service = try #require(try AccountFile.parse(text, file: "f").service(id: "kms2"))
        #expect(service.introspects == [.kms] && service.keyThumbprint == TestWorld.indexerKey)
    }

    /// A change of the whole file and what the error must hold.
    struct Fault: Sendable, CustomTestStringConvertible {
        let old: String
        let new: String
        let message: String
        var testDescription: String { message }
    }

    @Test(
        "A fault is told by line and path",
        arguments: [
            Fault(old: "organisation: org-1", new: "organization: org-1", message: ":2: organization: unknown key"),
            Fault(old: "    email: Alice@example.com\n", new: "", message: ":4: users[0]: the key email is missing"),
            Fault(old: "Alice@example.com", new: "alice", message: ":5: users[0].email: an e-mail address"),
            Fault(old: "5B1E3C4E-8F10", new: "5B1E3C4E-8F1", message: ":4: users[0].id: a UUID is expected"),
            Fault(
                old: "\(TestWorld.bobHash)", new: "hunter2",
                message: ":12: users[1].password-hash: a hash of the form scrypt$"),
            Fault(
                old: "p=1$AQID", new: "p=9$AQID", message: ":12: users[1].password-hash: a hash of the form scrypt$"),
            Fault(old: "disabled: true", new: "disabled: yes", message: ":13: users[1].disabled: true or false"),
            Fault(
                old: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b02", new: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01",
                message: ":8: users[1].id: this user, service or client id is already in line 4"),
            Fault(
                old: "bob@example.com", new: "aLICE@example.com",
                message: ":9: users[1].email: this e-mail address is already in line 5"),
            Fault(
                old: "cloud: [link:kms]", new: "clod: [link:kms]", message: ":19: services[0].audiences.clod: unknown"),
            Fault(
                old: "[link:kms]", new: "[\"link kms\"]",
                message: ":19: services[0].audiences.cloud[0]: a scope is printable"),
            Fault(old: "id: hds-kms", new: "id: hds kms", message: ":15: services[0].id: an id of letters"),
            Fault(
                old: "id: hds-kms", new: "id: web-app",
                message: ":22: clients[0].id: this user, service or client id is already in line 15"),
            Fault(
                old: "http://127.0.0.1/cb", new: "http://localhost/cb",
                message: ":26: clients[0].redirect-uris[1]: not usable as a redirect URI"),
            Fault(old: "name: The KMS", new: "name: [a]", message: ":16: services[0].name: a text is expected"),
            Fault(old: "name: \"Bob\"", new: "name: \"Bob\\n\"", message: ":10: users[1].name: a text of 1 to 128"),
            Fault(old: "users:", new: "users: 1\nx:", message: ": unknown key"),
            Fault(old: "organisation: org-1\nusers", new: "users", message: ": the key organisation is missing here"),
        ])
    func faults(_ fault: Fault) throws {
        try #require(Self.whole.contains(fault.old))
        let message = error(Self.whole.replacing(fault.old, with: fault.new))
        #expect(message.hasPrefix("accounts.yaml:"))
        #expect(message.contains(fault.message), "\(message)")
    }

    @Test("YAML that can not be read, and duplicate keys, are told by line")
    func brokenYAML() {
        #expect(error("users:\n  - id: [1\n").hasPrefix("accounts.yaml:"))
        #expect(error("users:\n\t- id: x\n").hasPrefix("accounts.yaml:2:"))
        #expect(error("users: []\nservices: []\nusers: []\n").contains("the key users comes more than once"))
        #expect(error("- a\n").contains("accounts.yaml:1: a mapping"))
    }

    @Test("Anchors, deep nesting and a bomb of aliases are refused")
    func bombs() {
        #expect(error("organisation: &o org-1\nusers: []\n").contains(":1: anchors are not supported"))
        let bomb = (1...40).reduce("users:\n  - &a0 [x]\n") { text, level in
            text + "  - &a\(level) [*a\(level - 1), *a\(level - 1)]\n"
        }
        #expect(error(bomb).contains(":2: anchors are not supported"))
        for text in ["users: " + String(repeating: "[", count: 100_000), String(repeating: "- ", count: 100_000)] {
            #expect(error(text).hasPrefix("accounts.yaml:"))
        }
        #expect(error(String(repeating: "# comment\n", count: 1 << 19)).contains("the file is too long"))
    }

    @Test("No damage of the file gets through or ends the program", arguments: [1, 2, 3, 4])
    func fuzz(_ seed: UInt64) {
        var random = SeededGenerator(seed)
        let original = Array(Self.whole.utf8)
        for _ in 0..<150 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let position = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[position] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: position)
                case 2:
                    bytes.insert(
                        Array("\n\t :-[]{}&*!|>'\"%@`#?,".utf8).randomElement(using: &random) ?? 0, at: position)
                default: bytes.insert(contentsOf: bytes[position..<min(bytes.count, position + 20)], at: position)
                }
            }
            let message = error(String(decoding: bytes, as: UTF8.self))
            #expect(message == "no error" || message.hasPrefix("accounts.yaml:"), "seed \(seed): \(message)")
            #expect(!message.contains("hKGWL22W"), "seed \(seed): \(message)")
        }
    }

    @Test("No error shows a hash or a password that stands in the file")
    func noSecrets() {
        for text in [
            Self.whole.replacing("password-hash: scrypt", with: "password-hash: [scrypt"),
            Self.whole.replacing(TestWorld.aliceHash, with: "hunter2-in-clear"),
            Self.whole.replacing("    name: Alice Example", with: "   name: Alice Example"),
            Self.whole.replacing("password-hash: scrypt$ln=10,r=8,p=1$AAEC", with: "password-hash: {scrypt$"),
        ] {
            let message = error(text)
            #expect(message != "no error")
            #expect(!message.contains("hKGWL22W") && !message.contains("hunter2"), "\(message)")
        }
    }

    @Test("A file that others may read, or that is no file, is not used")
    func access() throws {
        let folder = try TemporaryFolder()
        #expect(throws: DiagnosedError.coded(.fileAccess)) {
            try AccountDirectory(path: try folder.write(Self.whole, to: "open.yaml", mode: 0o644))
        }
        #expect(throws: DiagnosedError.coded(.fileAccess)) { try AccountDirectory(path: folder.path) }
        #expect(throws: DiagnosedError.coded(.fileAccess)) { try AccountDirectory(path: folder.file("missing")) }
        _ = try AccountDirectory(path: try folder.write(Self.whole, to: "group.yaml", mode: 0o640))
    }

    @Test("A reload takes a good file as a whole and keeps the old accounts for a bad one")
    func reload() throws {
        let folder = try TemporaryFolder()
        let directory = try AccountDirectory(path: try folder.write(Self.whole, to: "a.yaml"))
        _ = try folder.write(Self.whole.replacing("bob@example.com", with: "rob@example.com"), to: "a.yaml")
        try directory.reload()
        #expect(directory.accounts.user(email: "rob@example.com") != nil)
        _ = try folder.write("users: nonsense", to: "a.yaml")
        #expect(throws: DiagnosedError.coded(.accountsFile)) { try directory.reload() }
        #expect(directory.accounts.user(email: "rob@example.com") != nil)
    }
}

@Suite("Editing the accounts file")
struct AccountFileEditTests {
    private func user(_ name: String) -> AccountFileEdit.Entry {
        .user(
            id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b09", email: "new@example.com", name: name, organisation: "org: 1",
            passwordHash: TestWorld.aliceHash)
    }

    @Test("An entry without a password is one whose user signs in elsewhere")
    func withoutPassword() throws {
        let entry = AccountFileEdit.Entry.user(
            id: "5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b09", email: "new@example.com", name: "N", organisation: "o",
            passwordHash: nil)
        let result = try AccountFileEdit.inserting(entry, into: .users, of: "", file: "f")
        let added = try #require(try AccountFile.parse(result, file: "f").user(email: "new@example.com"))
        #expect(added.passwordHash == nil && !added.isDisabled)
    }

    @Test(
        "An entry is added where the list is, in its layout, and nothing else changes",
        arguments: [
            "", "# mine\n", "users:\n", "users: []\n", "# top\nusers:   # people\n", "services:\nusers:\n",
            "users:\n- id: 5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01\n  email: a@b.de\n  name: A # x\n  organisation: o\n"
                + "  password-hash: \(TestWorld.aliceHash)\n",
            "users:\n      - id: 5b1e3c4e-8f10-4c4c-9a3e-0a2c5f1d7b01\n        email: a@b.de\n        name: A\n"
                + "        organisation: o\n        password-hash: \(TestWorld.aliceHash)\n# end\nclients: []",
        ])
    func inserting(_ text: String) throws {
        let before = try AccountFile.parse(text, file: "f")
        let result = try AccountFileEdit.inserting(user("New Person"), into: .users, of: text, file: "f")
        let after = try AccountFile.parse(result, file: "f")
        #expect(after.users.count == before.users.count + 1)
        let added = try #require(after.user(email: "new@example.com"))
        #expect(added.name == "New Person" && added.organisation == "org: 1")
        #expect(added.passwordHash == TestWorld.aliceHash)
        for line in text.split(separator: "\n") where line != "users: []" {
            #expect(result.contains(line), "\(line)")
        }
    }

    @Test(
        "Names that mean something to YAML come back as they were",
        arguments: [
            "true", "a: b", "# x", "- x", "\"quoted\" \\ back", "[list]", "'", "ä ö", "1", "null", "@at", "%", "*a",
            "&a", "!t",
        ])
    func quoting(_ name: String) throws {
        let result = try AccountFileEdit.inserting(user(name), into: .users, of: "", file: "f")
        #expect(try AccountFile.parse(result, file: "f").users.first?.name == name)
    }

    @Test("A service keeps its audiences and scopes")
    func service() throws {
        let entry = AccountFileEdit.Entry.service(
            id: "hds-kms", name: "KMS", organisation: "o", secretHash: TestWorld.serviceHash,
            audiences: [.cloud: ["link:kms", "x"], .kms: []])
        let result = try AccountFileEdit.inserting(entry, into: .services, of: "users:\n", file: "f")
        #expect(
            try AccountFile.parse(result, file: "f").service(id: "hds-kms")?.audiences
                == [.cloud: ["link:kms", "x"], .kms: []])
    }

    @Test("What can not be inserted safely is refused, and the file stays as it is")
    func refusals() throws {
        let folder = try TemporaryFolder()
        let flow = "users: [{id: x}]\n"
        let twice = try AccountFileEdit.inserting(user("A"), into: .users, of: "", file: "f")
        for text in [flow, twice, "users: text\n", "users: {a: b}\n"] {
            let path = try folder.write(text, to: "a.yaml")
            #expect(throws: DiagnosedError.coded(.accountsFile), "\(text)") {
                try AccountFileEdit.add(user("B"), to: .users, path: path)
            }
            #expect(try folder.text("a.yaml") == text)
        }
    }

    @Test("A new file is closed to others, an old one keeps its mode")
    func modes() throws {
        let folder = try TemporaryFolder()
        try AccountFileEdit.add(user("A"), to: .users, path: folder.file("new.yaml"))
        #expect(try folder.mode("new.yaml") == 0o600)
        _ = try folder.write("users:\n", to: "old.yaml", mode: 0o640)
        try AccountFileEdit.add(user("A"), to: .users, path: folder.file("old.yaml"))
        #expect(try folder.mode("old.yaml") == 0o640)
        #expect(try folder.names() == ["new.yaml", "old.yaml"])
    }
}
