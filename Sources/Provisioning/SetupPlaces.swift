import Glibc
package import ServiceRuntime

/// Where everything of an installation lies: on this machine, or below a folder for a trial and for tests.
///
/// On a machine, systemd hands the secrets over and starts the services. Below a folder there is no systemd: secrets are
/// files, and whoever set it up starts the programs.
package struct SetupPlaces: Sendable {
    /// Empty for this machine.
    package let root: String

    package init(root: String = "") { self.root = root }

    package var isMachine: Bool { root.isEmpty }
    package var folder: String { root + "/etc/hds" }
    package var credentials: String { folder + "/credentials" }
    package var configuration: String { folder + "/hds-kms.yaml" }
    package var chain: String { folder + "/kms-static-key.pem" }
    package var request: String { folder + "/kms-static-key.csr" }
    package var state: String { root + "/var/lib/hds-kms" }
    package var runtime: String { root + "/run/hds-kms" }
    package var socket: String { runtime + "/control.sock" }
    package var dropIn: String { dropIn(of: "hds-kms") }
    /// Of the units that open what the KMS keeps without it.
    package var rehearsalDropIns: [String] { ["hds-backup", "hds-restore-drill"].map { dropIn(of: $0) } }
    private func dropIn(of unit: String) -> String { root + "/etc/systemd/system/\(unit).service.d/20-setup.conf" }
    package var unit: ServiceUnit { ServiceUnit(unit: "hds-kms.service", root: root) }

    /// Whether systemd runs this machine.
    package var hasSystemd: Bool { isMachine && access("/run/systemd/system", F_OK) == 0 }

    /// The template of the configuration: as the package has it, or in a checkout above this program.
    package static func template() -> String? {
        var path = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        var folder = String(decoding: path[..<max(0, count)].map { UInt8(bitPattern: $0) }, as: UTF8.self)[...]
        var candidates = ["/usr/share/hds/hds-kms.yaml"]
        while let slash = folder.lastIndex(of: "/") {
            folder = folder[..<slash]
            candidates.insert(folder + "/config/hds-kms.yaml", at: candidates.count - 1)
        }
        return candidates.first { access($0, R_OK) == 0 }
    }
}
