import Foundation
import Testing

extension StoryTests {
    @Suite("A section federation that can not be used") struct FederationConfigurationTests {
        private static let partner = """
            federation:
              partners:
                - host: kms.partner.example.org
                  organisation: partner

            """

        @Test(
            "Each is refused by the KMS at its start, with what is wrong",
            arguments: [
                ("", "roots"),
                ("      roots: root.pem\n      may-ask-us: true\n", "assertion-issuer"),
                ("      roots: missing.pem\n", "missing.pem"),
                ("      pins: [sha256/short]\n", "pin"),
                ("      roots: root.pem\n      users: two-lists\n", "two lists"),
                ("      roots: root.pem\n      users: no-ids\n", "no-ids:2"),
                ("      roots: root.pem\n      cache: 2h\n", "cache"),
                ("      roots: root.pem\n      nested: true\n", "nested"),
                (
                    "      roots: root.pem\n    - host: kms.partner.example.org\n      organisation: x\n      roots: root.pem\n",
                    "host"
                ),
                (
                    "      roots: root.pem\n    - host: kms.example.com\n      organisation: x\n      roots: root.pem\n",
                    "itself"
                ),
                (
                    "      roots: root.pem\n    - host: KMS.x.example\n      organisation: x\n      roots: root.pem\n",
                    "lower case"
                ),
            ])
        func refused(_ more: String, _ expected: String) async throws {
            let domain = try await Domain.make()
            defer { domain.remove() }
            try domain.write(domain.read("pki/core/root.pem"), to: "kms/root.pem")
            let user = UUID().uuidString
            try domain.write("# own\n\(user)\n", to: "kms/own")
            try domain.write("\(user.lowercased()) # the same\n", to: "kms/two-lists")
            try domain.write("\(user)\nnobody\n", to: "kms/no-ids")
            let section = Self.partner.replacing("federation:\n", with: "federation:\n  own-users: own\n")
            let whole = try domain.read(Service.kms.configuration)
            try domain.write(whole + section + more, to: Service.kms.configuration)
            let child = try ChildProcess(
                Repository.program("hds-kms"), ["--config", domain.path(Service.kms.configuration)],
                output: domain.path("refusal.log"))
            #expect(try await child.end() == .exit(78), "\(child.tail())")
            #expect(child.log().contains(expected), "\(child.tail())")
        }
    }
}
