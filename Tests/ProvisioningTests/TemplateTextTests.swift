import DatabaseConfiguration
import Diagnostics
import KMSService
import LinkedService
import ServiceRuntime
import TestServers
import Testing

@testable import Provisioning

@Suite("The configuration from the documented template")
struct TemplateTextTests {
    static let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    private let template: String

    init() throws { template = try FileLocation(Self.root + "/config/hds-kms.yaml").text() }

    private static let least = """
        host: kms.bank.example
        node: "kms 7"
        organisation: "0123"
        core:
          link: wss://core.example.net/link/v1
          ca: core.pem
          pins: ["sha256/AAAA"]
        authorization:
          issuer: https://auth.bank.example:8444
          ca: auth.pem
        """

    private func configuration(
        _ more: String = "", places: SetupPlaces = SetupPlaces(root: "/trial")
    ) throws -> (KMSServiceConfiguration, String) {
        let answers: SetupAnswers = try ConfigurationFile.decode(
            Array((Self.least + "\n" + more).utf8), file: "answers", folder: "/from")
        let text = try ConfigurationText(
            answers: answers, places: places, machineAccount: "4d0c6b52-8a1e-4a57-9b0e-6f1f0f3b7a11"
        ).text(template: template)
        return (try ConfigurationFile.decode(Array(text.utf8), file: "hds-kms.yaml", folder: "/trial/etc/hds"), text)
    }

    @Test("has the answers in their places, and every comment of the template")
    func least() throws {
        let (made, text) = try configuration()
        #expect(made.host == "kms.bank.example" && made.node == "kms 7" && made.organisation == "0123")
        #expect(made.core.link.text == "wss://core.example.net/link/v1" && made.core.pins == ["sha256/AAAA"])
        #expect(made.core.authorities.path == "/trial/etc/hds/core-ca.pem")
        #expect(made.authorization.issuers[0].issuer == "https://auth.bank.example:8444")
        #expect(made.authorization.issuers[0].keySet?.text == "https://auth.bank.example:8444/jwks.json")
        #expect(made.authorization.issuers[0].revocations?.text == "https://auth.bank.example:8444/revocations")
        #expect(made.authorization.service.tokenEndpoint.text == "https://auth.bank.example:8444/token")
        #expect(made.store.file?.path == "/trial/var/lib/hds-kms/kms.sqlite")
        #expect(made.control.socket.path == "/trial/run/hds-kms/control.sock")
        #expect(made.officers.file == nil && made.backup == nil && made.proxy == nil && made.runtime.allowRoot)
        guard case .secret(.file(let key)) = made.masterKey else { return #expect(Bool(false), "\(made.masterKey)") }
        #expect(key.path == "/trial/etc/hds/credentials/kms-master-key")
        func comments(_ text: String) -> Set<Substring> {
            Set(text.split(separator: "\n").filter { $0.drop { $0 == " " }.hasPrefix("#") })
        }
        #expect(comments(text) == comments(template))
    }

    @Test("on a machine secrets are handed over by systemd")
    func machine() throws {
        let (made, _) = try configuration(places: SetupPlaces())
        guard case .secret(.credential("kms-master-key")) = made.masterKey else {
            return #expect(Bool(false), "\(made.masterKey)")
        }
        #expect(made.staticKey.privateKey == .credential("kms-static-key") && !made.runtime.allowRoot)
        #expect(made.authorization.service.clientSecret == .credential("kms-client-secret"))
    }

    @Test("sections that are optional come out of their comments with all that belongs to them")
    func optional() throws {
        let (made, _) = try configuration(
            """
            officers: officers.json
            policy: policy.signed
            backup: /mnt/backup
            operators-group: hds-operators
            health-address: 127.0.0.1:9999
            proxy:
              address: http://proxy.bank.example:3128
              user: EXAMPLE\\kms
              password: proxy.password
              except: [auth.bank.example]
            store:
              postgresql:
                hosts: ["db-1.bank.example", "db-2.bank.example:5433"]
                password: db.password
                ca: db.pem
            """)
        #expect(made.officers.file?.path == "/trial/etc/hds/officers.json")
        #expect(made.policy.file?.path == "/trial/etc/hds/policy.signed" && made.policy.signaturesNeeded == 1)
        #expect(made.backup?.folder.path == "/mnt/backup" && made.backup?.erasableDays == 30)
        #expect(made.control.group == "hds-operators" && made.runtime.health.address.port == 9999)
        #expect(made.proxy?.user == "EXAMPLE\\kms" && made.proxy?.exceptions == ["auth.bank.example"])
        #expect(made.proxy?.authorities == nil)
        guard case .postgresql(let database) = made.store.backend else { return #expect(Bool(false)) }
        #expect(database.hosts == ["db-1.bank.example", "db-2.bank.example:5433"] && database.user == "hds-kms")
        #expect(database.certificate == nil && database.tls == .verifyFull)
        #expect(made.audit.folder?.path == "/trial/var/lib/hds-kms/audit")
    }

    @Test("the example of answers shows every key and is taken")
    func example() throws {
        let text = try FileLocation(Self.root + "/config/setup.example.yaml").text()
        let shown: SetupAnswers = try ConfigurationFile.decode(Array(text.utf8), file: "setup", folder: "/from")
        #expect(shown.certificate.keyBits == 3072 && shown.escrow?.shares == 5 && shown.healthAddress.port == 9440)
        let names =
            SetupAnswers.CodingKeys.allCases.map(\.rawValue) + CertificateAnswers.CodingKeys.allCases.map(\.rawValue)
            + MasterKeyAnswers.CodingKeys.allCases.map(\.rawValue) + CoreAnswers.CodingKeys.allCases.map(\.rawValue)
            + AuthorizationAnswers.CodingKeys.allCases.map(\.rawValue)
            + ProxyAnswers.CodingKeys.allCases.map(\.rawValue)
            + PostgreSQLAnswers.CodingKeys.allCases.map(\.rawValue) + EscrowAnswers.CodingKeys.allCases.map(\.rawValue)
        for name in names { #expect(text.contains("\(name):"), "\(name)") }
    }

    @Test("answers are refused by path and line")
    func refused() throws {
        let error = #expect(throws: ConfigurationError.self) { try configuration("certificate:\n  pkcs13: x\n") }
        #expect("\(error.map { "\($0)" } ?? "")".contains("certificate.pkcs13") && error?.problems[0].line == 12)
        for wrong in [
            "certificate: {pkcs12: a, chain: b}", "policy: policy.signed", "escrow: {shares: 2, needed: 3}",
            "escrow: {shares: 5, needed: 1}", "machine-account: no-uuid", "master-key: {kept: nowhere}",
        ] {
            #expect(throws: ConfigurationError.self, "\(wrong)") { try configuration(wrong) }
        }
    }

    @Test("a text is quoted where YAML could take it for something else")
    func scalars() {
        #expect(TemplateText.scalar("kms-1.example.com") == "kms-1.example.com")
        #expect(TemplateText.scalar("/etc/hds/a.pem") == "/etc/hds/a.pem")
        for (text, quoted) in [
            ("123", "\"123\""), ("true", "\"true\""), ("a b", "\"a b\""), ("a\"b\\", "\"a\\\"b\\\\\""), ("", "\"\""),
            ("#x", "\"#x\""), ("a#b", "\"a#b\""),
        ] {
            #expect(TemplateText.scalar(text) == quoted)
        }
    }
}

@Suite("Files of an installation")
struct PlacedFileTests {
    private let folder = TemporaryFolder()

    @Test("come there whole or not at all, and never over what is there")
    func place() throws {
        let path = folder.path + "/key"
        try PlacedFile.place(path, mode: 0o600, text: "first")
        #expect(try folder.contents(of: "key") == "first" && folder.names(in: ".") == ["key"])
        let error = #expect(throws: DiagnosedError.self) { try PlacedFile.place(path, mode: 0o600, text: "second") }
        #expect(error?.code == .setupFile)
        #expect(try folder.contents(of: "key") == "first" && folder.names(in: ".") == ["key"])
        try PlacedFile.place(path, mode: 0o644, replacing: true, text: "third")
        #expect(try folder.contents(of: "key") == "third")
        try PlacedFile.folder(folder.path + "/a/b", mode: 0o700)
        #expect(folder.names(in: "a") == ["b"])
    }
}
