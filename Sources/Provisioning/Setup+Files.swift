import Cryptography
import Diagnostics
import Glibc
import KMSService
import MasterKey
import SecretMemory
import ServiceRuntime
import WireText

// The steps that write what holds no secret: authorities, officers, policy, configuration, the unit's drop-in.
extension Setup {
    // MARK: Copies of what the administrator brings

    func copies() {
        var authorities: [(String, FileLocation)] = [
            ("core", answers.core.authorities), ("auth", answers.authorization.authorities),
        ]
        if let database = answers.store.postgresql { authorities.append(("database", database.authorities)) }
        if let proxy = answers.proxy?.authorities { authorities.append(("proxy", proxy)) }
        for (name, source) in authorities {
            copy("authorities", source, to: places.authorities(name)) {
                _ = try source.certificates()
            }
        }
        if let officers = answers.officers { copy("officers", officers, to: places.folder + "/officers.json") {} }
        if let policy = answers.policy { copy("policy", policy, to: places.folder + "/policy.signed") {} }
    }

    private func copy(_ name: String, _ source: FileLocation, to path: String, _ judge: () throws -> Void) {
        if PlacedFile.exists(path), let there = try? FileLocation(path).text(), let brought = try? source.text(),
            there != brought
        {
            return note(
                SetupLine(
                    name, .warn, "\(path) is there and is not the same as \(source): it stays",
                    fix: "if the new one is right: install -m 644 \(source) \(path), then systemctl reload hds-kms"))
        }
        step(name, found: PlacedFile.exists(path) ? path : nil, would: "would make \(path)") {
            let text = try source.text()
            try judge()
            try PlacedFile.place(path, mode: 0o644, text: text)
            return SetupLine(name, .made, path)
        }
    }

    // MARK: Configuration

    func configuration() {
        do {
            let text = try configurationText()
            guard PlacedFile.exists(places.configuration) else {
                return step("configuration", found: nil, would: "would make \(places.configuration)") {
                    try PlacedFile.place(places.configuration, mode: 0o644, text: text)
                    return SetupLine("configuration", .made, places.configuration)
                }
            }
            let there = try FileLocation(places.configuration).text()
            let keys = ConfigurationFile.differences(Array(there.utf8), Array(text.utf8))
            guard !keys.isEmpty else {
                return note(SetupLine("configuration", .there, places.configuration))
            }
            note(
                SetupLine(
                    "configuration", .warn,
                    "\(places.configuration) is there and differs from the answers in \(keys.joined(separator: ", ")): "
                        + "it stays",
                    fix: "change it by hand where the answers are right, then systemctl reload hds-kms"))
        } catch {
            note(SetupLine("configuration", missing: error))
        }
    }

    /// Judged as the service will judge it, before anybody sees it.
    private func configurationText() throws -> String {
        guard let template = options.template ?? SetupPlaces.template() else {
            throw DiagnosedError(
                "setup-template", fault: .configuration, "the template of the configuration is not on this machine",
                expected: "/usr/share/hds/hds-kms.yaml", hint: "install hds-common, or name it with --template")
        }
        let present: KMSServiceConfiguration? = try? ConfigurationFile.read(places.configuration)
        let text = try ConfigurationText(
            answers: answers, places: places,
            machineAccount: answers.machineAccount ?? present?.machineAccount ?? UUIDText.random()
        ).text(template: try FileLocation(template).text())
        do {
            let _: KMSServiceConfiguration = try ConfigurationFile.decode(
                Array(text.utf8), file: places.configuration, folder: places.folder)
        } catch {
            throw error.diagnosed
        }
        return text
    }

    // MARK: Unit

    func unit() {
        guard places.isMachine else { return }
        var folders: [String] = []
        if let backup = answers.backup?.path, !backup.hasPrefix(places.state + "/") { folders.append(backup) }
        // Where every secret stands is known when all are there.
        guard wantedSecrets.allSatisfy({ secrets.found($0) != nil }) else { return }
        let rehearsing = secrets.dropIn(wantedSecrets.filter { $0 == .masterKey }, folders: folders)
        for (path, wanted) in [(places.dropIn, secrets.dropIn(wantedSecrets, folders: folders))]
            + places.rehearsalDropIns.map({ ($0, rehearsing) })
        {
            guard let wanted else { continue }
            let present = try? FileLocation(path).text()
            step("unit", found: present == wanted ? path : nil, would: "would make \(path)") {
                try PlacedFile.folder(path.folder, mode: 0o755)
                try PlacedFile.place(path, mode: 0o644, replacing: true, text: wanted)
                return SetupLine("unit", .made, path)
            }
        }
    }
}

extension String {
    /// The folder of a path.
    var folder: String {
        guard let slash = lastIndex(of: "/"), slash != startIndex else { return "/" }
        return String(self[..<slash])
    }
}
