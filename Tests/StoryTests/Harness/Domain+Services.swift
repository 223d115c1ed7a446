import Foundation

// What every story of a service beside the KMS needs: the service's account, an officer for the policy, signed policies, and
// what the configurations of linked services have in common.
extension Domain {
    /// An account `hds-NAME` at hds-auth with a key of its own; its files are in the folder NAME.
    /// - Parameter cloud: what its tokens for the cloud allow beside the link.
    func enter(service name: String, cloud: String = "") async throws {
        let script = """
            mkdir -p "$1"
            openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1/key.pem" 2>/dev/null
            openssl pkey -in "$1/key.pem" -pubout -out "$1/key.pub"
            chmod 600 "$1/key.pem"
            """
        try await ChildProcess.run("bash", ["-euc", script, "key", path(name)], folder: folder)
        try await ChildProcess.run(
            Repository.program("hds-auth"),
            [
                "add-service", "--accounts", path("auth/accounts.yaml"), "--id", "hds-\(name)", "--organisation",
                "example", "--grant", "cloud=link:\(name)\(cloud)", "--grant", "kms", "--key", path("\(name)/key.pub"),
                "--secret-file", path("\(name)/client-secret"),
            ], folder: folder)
    }

    /// An officer Ada whose policies the KMS takes; there is none yet.
    func enterPolicyOfficer() async throws {
        try write("the passphrase of ada\n", to: "ada.pass")
        // The fingerprint comes behind the officer, on standard error.
        let made = try await ChildProcess.run(
            Repository.program("hdsctl"),
            [
                "officer", "create", path("ada.pem"), "--id", "ada", "--duty", "policy", "--passphrase-file",
                path("ada.pass"),
            ], folder: folder)
        guard let officer = made.split(separator: "\n").first(where: { $0.hasPrefix("{") }) else {
            throw NotInTime(what: "the officer", limit: .zero, seen: made)
        }
        try write("{\"officers\":[\(officer)]}", to: "kms/officers.json")
        try replace(
            "control:\n", with: "policy:\n  file: policy.signed\nofficers:\n  file: officers.json\ncontrol:\n",
            in: "kms/hds-kms.yaml")
    }

    /// A policy with these members, signed by Ada, where the KMS looks; the name of the signed file.
    @discardableResult
    func sign(policy version: Int, _ members: String) async throws -> String {
        let name = "policy-\(version)"
        try write("version: \(version)\norganisation: example\nissued: 2026-01-15\n\(members)", to: name + ".yaml")
        try await ChildProcess.run(
            Repository.program("hdsctl"),
            [
                "policy", "sign", path(name + ".yaml"), "--key", path("ada.pem"), "--passphrase-file", path("ada.pass"),
            ], folder: folder)
        try write(try read(name + ".signed"), to: "kms/policy.signed")
        return name + ".signed"
    }

    /// The configuration of a node of that service, with the same core, pins and authorities as the KMS's.
    /// - Parameters:
    ///   - sections: its own.
    ///   - port: of its health address.
    func configuration(of service: String, node: String, health port: Int, _ sections: String) throws -> String {
        let kms = try read("kms/hds-kms.yaml")
        guard let start = kms.range(of: "core:\n"), let end = kms.range(of: "authorization:\n") else {
            throw NotInTime(what: "the configuration of the KMS", limit: .zero, seen: kms)
        }
        return """
            node: \(node)
            organisation: example
            \(kms[start.lowerBound..<end.lowerBound])service-account:
              token-endpoint: \(authURL)/token
              ca: ../pki/customer/root.pem
              client-id: hds-\(service)
              client-secret: client-secret
            kms:
              host: \(Domain.kmsHost)
              certificate: ../pki/customer/kms.pem
              key: key.pem
            \(sections)
            runtime:
              health:
                address: 127.0.0.1:\(port)
              log: {level: debug, format: text}
              allow-root: \(kms.contains("allow-root: true"))

            """
    }
}
