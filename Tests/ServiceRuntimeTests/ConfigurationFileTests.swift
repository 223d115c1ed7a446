import Diagnostics
import Testing

@testable import ServiceRuntime

/// A configuration with everything the reader knows: sections, a list of sections, free keys, values of all kinds.
struct SampleConfiguration: Decodable, Sendable {
    struct Store: Decodable, Sendable {
        let file: FileLocation
        let timeout: Duration
        let cache: ByteCount?
        enum CodingKeys: String, CodingKey, CaseIterable { case file, timeout, cache }

        init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            file = try section.value(.file)
            timeout = try section.value(.timeout, default: .seconds(5), in: .milliseconds(1) ... .seconds(60))
            cache = try section.optional(.cache)
        }
    }

    struct Issuer: Decodable, Sendable {
        let url: WebAddress
        let isCustomerControlled: Bool
        enum CodingKeys: String, CodingKey, CaseIterable {
            case url
            case isCustomerControlled = "customer-controlled"
        }
    }

    enum Mode: String, NamedValue { case fast, careful }

    let host: String
    let listen: NetworkAddress
    let store: Store
    let issuers: [Issuer]
    let workers: Int
    let mode: Mode
    let labels: [String: String]
    let secret: SecretLocation?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case host, listen, store, issuers, workers, mode, labels, secret
    }

    init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        host = try section.value(.host)
        listen = try section.value(.listen)
        store = try section.value(.store)
        issuers = try section.value(.issuers, default: [])
        workers = try section.value(.workers, default: 4, in: 1...64)
        mode = try section.value(.mode, default: .careful)
        labels = try section.value(.labels, default: [:])
        secret = try section.optional(.secret)
    }

    static let text = """
        # An example.
        host: kms.acme.example.com
        listen: 127.0.0.1:8443
        store:
          file: data/kms.sqlite
          timeout: 250ms
          cache: 64MiB
        issuers:
          - url: https://auth.acme.example.com
            customer-controlled: true
          - url: https://core.example.com/oauth
            customer-controlled: false
        workers: 8
        mode: fast
        labels:
          site: Bern
          rack: 7
        secret: credential:kms-kek
        """
}

@Suite("Configuration file")
struct ConfigurationFileTests {
    private func read(_ text: String) throws(ConfigurationError) -> SampleConfiguration {
        try ConfigurationFile.decode(Array(text.utf8), file: "sample.yaml", folder: "/etc/hds")
    }

    /// The problems of the sample with one change.
    private func problems(replacing old: String, with new: String) throws -> [ConfigurationError.Problem] {
        try problems(of: SampleConfiguration.text.replacing(old, with: new))
    }

    private func problems(of text: String) throws -> [ConfigurationError.Problem] {
        let error = #expect(throws: ConfigurationError.self) { try read(text) }
        return try #require(error).problems
    }

    @Test("a good file gives every value, relative paths from the folder of the file")
    func goodFile() throws {
        let configuration = try read(SampleConfiguration.text)
        #expect(configuration.host == "kms.acme.example.com")
        #expect(configuration.listen == NetworkAddress(host: "127.0.0.1", port: 8443))
        #expect(configuration.store.file.path == "/etc/hds/data/kms.sqlite")
        #expect(configuration.store.timeout == .milliseconds(250))
        #expect(configuration.store.cache?.bytes == 64 << 20)
        #expect(configuration.issuers.map(\.isCustomerControlled) == [true, false])
        #expect(configuration.issuers[1].url.path == "/oauth")
        #expect(configuration.workers == 8)
        #expect(configuration.mode == .fast)
        #expect(configuration.labels == ["site": "Bern", "rack": "7"])
        #expect(configuration.secret == .credential("kms-kek"))
    }

    @Test("a key that is absent or has no value takes its default")
    func defaults() throws {
        let configuration = try read(
            """
            host: a
            listen: "[::1]:0"
            workers:
            mode: ~
            store: {file: /kms.sqlite}
            """)
        #expect(configuration.workers == 4)
        #expect(configuration.mode == .careful)
        #expect(configuration.store.timeout == .seconds(5))
        #expect(configuration.store.cache == nil)
        #expect(configuration.issuers.isEmpty)
    }

    @Test("an unknown key is refused by path and line, and the nearest known one is suggested")
    func unknownKey() throws {
        let found = try problems(replacing: "workers: 8", with: "worker: 8")
        #expect(found.count == 1)
        #expect(found[0].path == "worker")
        #expect(found[0].line == 13)
        #expect(found[0].hint == "did you mean workers?")
    }

    @Test("an unknown key deep inside and one in an element of a list are both told at once")
    func unknownKeysInside() throws {
        let text = SampleConfiguration.text.replacing("timeout:", with: "time_out:")
            .replacing(
                "    customer-controlled: false", with: "    customer-controled: false\n    customer-controlled: false")
        let found = try problems(of: text)
        #expect(found.map(\.path) == ["store.time_out", "issuers[1].customer-controled"])
        #expect(found.map(\.line) == [6, 12])
        #expect(found.map(\.hint) == ["did you mean timeout?", "did you mean customer-controlled?"])
    }

    @Test("an unknown key that resembles nothing is answered with the list of keys")
    func unknownKeyWithoutLikeness() throws {
        let found = try problems(replacing: "  cache: 64MiB", with: "  zzzzzzzzzz: 64MiB")
        #expect(found[0].expected == "one of cache, file, timeout")
        #expect(found[0].hint == "remove it or correct its name")
    }

    @Test("a misspelt key that is needed is told twice: as unknown and as missing")
    func misspeltNeededKey() throws {
        let found = try problems(replacing: "listen:", with: "lisen:")
        #expect(found.map(\.summary) == ["the key listen is missing", "this key is not known"])
        #expect(found[1].hint == "did you mean listen?")
    }

    @Test("a key that stands twice is refused with both lines and its path")
    func duplicateKeys() throws {
        let top = try problems(replacing: "mode: fast", with: "mode: fast\nhost: other")
        #expect(top[0].path == "host")
        #expect(top[0].line == 15)
        #expect(top[0].found == "the first in line 2, again in line 15")

        let nested = try problems(replacing: "  cache: 64MiB", with: "  cache: 64MiB\n  file: other")
        #expect(nested[0].path == "store.file")
        #expect(nested[0].found == "the first in line 5, again in line 8")

        let inList = try problems(
            replacing: "    customer-controlled: false",
            with: "    customer-controlled: false\n    url: https://x.example")
        #expect(inList[0].path == "issuers[1].url")
        #expect(inList[0].found == "the first in line 11, again in line 13")

        let flow = try problems(replacing: "mode: fast", with: "mode: fast\nextra: {one: 1, one: 2}")
        #expect(flow[0].line == 15)
        #expect(flow[0].path == "one")
    }

    @Test("a list whose dashes stand in the column of their key names the same path")
    func duplicateInOutdentedList() throws {
        let found = try problems(
            of: """
                host: a
                issuers:
                - url: https://a.example
                  customer-controlled: true
                - url: https://b.example
                  url: https://c.example
                """)
        #expect(found[0].path == "issuers[1].url")
        #expect(found[0].line == 6)
    }

    @Test("a missing key is told with the section and its line")
    func missingKey() throws {
        let found = try problems(replacing: "  file: data/kms.sqlite\n", with: "")
        #expect(found[0].path == "store")
        #expect(found[0].line == 5)
        #expect(found[0].summary == "the key file is missing")
        #expect(found[0].found == "the keys cache, timeout")
    }

    @Test(
        "a wrong kind of value is told by path, line, what was expected and what came",
        arguments: [
            ("workers: 8", "workers: eight", "workers", 13, "a whole number", "\"eight\""),
            ("workers: 8", "workers: \"8\"", "workers", 13, "a whole number", "\"8\""),
            ("workers: 8", "workers: [8]", "workers", 13, "a whole number", "a list"),
            (
                "workers: 8", "workers: 99999999999999999999", "workers", 13,
                "-9223372036854775808 to 9223372036854775807", "\"99999999999999999999\""
            ),
            (
                "customer-controlled: true", "customer-controlled: yes", "issuers[0].customer-controlled", 10,
                "true or false", "\"yes\""
            ),
            (
                "timeout: 250ms", "timeout: 250", "store.timeout", 6, "a time such as 500ms, 10s, 5m, 24h or 30d",
                "\"250\""
            ),
            ("cache: 64MiB", "cache: 64MB", "store.cache", 7, "a size such as 512KiB, 64MiB or 10GiB", "\"64MB\""),
            ("host: kms.acme.example.com", "host: {name: x}", "host", 2, "a text", "a section with keys of its own"),
            (
                "listen: 127.0.0.1:8443", "listen: 8443", "listen", 3, "host:port such as 127.0.0.1:8443 or [::1]:8443",
                "\"8443\""
            ),
            ("mode: fast", "mode: fats", "mode", 14, "one of fast, careful", "\"fats\""),
            (
                "https://core.example.com/oauth", "core.example.com", "issuers[1].url", 11,
                "an absolute URL such as https://core.example.com:8443/path", "\"core.example.com\""
            ),
        ])
    func wrongKind(_ row: (old: String, new: String, path: String, line: Int, expected: String, found: String)) throws {
        let found = try problems(replacing: row.old, with: row.new)
        #expect(found.count == 1)
        #expect(found[0].path == row.path)
        #expect(found[0].line == row.line)
        #expect(found[0].expected == row.expected)
        #expect(found[0].found == row.found)
    }

    @Test("a section where a list belongs, and the reverse, are refused")
    func wrongStructure() throws {
        let list = try problems(replacing: "labels:\n  site: Bern\n  rack: 7", with: "labels: [a]")
        #expect(list[0].path == "labels")
        #expect(list[0].found == "a list")
        let text = try problems(of: "just a line")
        #expect(text[0].summary == "a section is missing here")
        #expect(text[0].line == 1)
    }

    @Test("a value out of range is refused with the range")
    func outOfRange() throws {
        let found = try problems(replacing: "workers: 8", with: "workers: 65")
        #expect(found[0].path == "workers")
        #expect(found[0].line == 13)
        #expect(found[0].summary == "the value is out of range: expected 1 to 64")
    }

    @Test("what is no YAML is refused with its line")
    func noYAML() throws {
        let tab = try problems(replacing: "  file: data", with: "\tfile: data")
        #expect(tab[0].line == 5)
        let quote = try problems(replacing: "mode: fast", with: "mode: \"fast")
        #expect(quote[0].line != nil)
        let two = try problems(of: "host: a\n---\nhost: b\n")
        #expect(two[0].line == 2)
        #expect(two[0].summary.contains("another document"))
        let control = try problems(of: "host: a\u{7}b")
        #expect(control[0].summary.contains("not allowed"))
        #expect(control[0].line == 1)
    }

    @Test("an empty file and one that is not UTF-8 are refused")
    func emptyAndForeign() throws {
        #expect(try problems(of: "")[0].summary == "the file is empty")
        #expect(try problems(of: "# only a comment\n")[0].summary == "the file is empty")
        let error = #expect(throws: ConfigurationError.self) {
            try ConfigurationFile.decode([0x68, 0xFF, 0xFE], file: "x", as: SampleConfiguration.self)
        }
        #expect(error?.problems[0].summary == "the file is no UTF-8 text")
    }

    @Test("anchors and aliases are refused by line; an ampersand in a text is not")
    func anchors() throws {
        let found = try problems(replacing: "mode: fast", with: "mode: &m fast")
        #expect(found[0].line == 14)
        #expect(found[0].summary == "anchors and aliases are not supported")
        let alias = try problems(replacing: "mode: fast", with: "mode: *m")
        #expect(alias[0].line == 14)
        let fine = SampleConfiguration.text.replacing("site: Bern", with: "site: Meier & Co, R&D # &no")
        #expect(try read(fine).labels["site"] == "Meier & Co, R&D")
    }

    @Test("keys without a declared list are a fault of the program and are refused")
    func undeclaredKeys() {
        struct Careless: Decodable { let host: String }
        let error = #expect(throws: ConfigurationError.self) {
            try ConfigurationFile.decode(Array("host: a".utf8), file: "x", as: Careless.self)
        }
        #expect(error?.problems[0].summary.contains("CaseIterable") == true)
    }

    @Test("the message is one block that a person can read")
    func block() throws {
        let error = #expect(throws: ConfigurationError.self) {
            try read(
                SampleConfiguration.text.replacing("workers: 8", with: "worker: 8").replacing("250ms", with: "fast"))
        }
        #expect(
            try #require(error).description == """
                sample.yaml: 2 problems
                  line 6: store.timeout: the value can not be used
                      expected: a time such as 500ms, 10s, 5m, 24h or 30d
                      found:    "fast"
                  line 13: worker: this key is not known
                      to do:    did you mean workers?
                """)
        #expect(error?.diagnosed.code == .configurationRefused)
        #expect(error?.diagnosed.description.contains("sample.yaml line 6 store.timeout") == true)
    }
}
