import Diagnostics
import ServiceRuntime

/// The text of /etc/hds/hds-kms.yaml from the answers and the documented template.
struct ConfigurationText {
    let answers: SetupAnswers
    let places: SetupPlaces
    /// Kept from an earlier run, for it never changes.
    let machineAccount: String

    func text(template: String) throws(DiagnosedError) -> String {
        var file = TemplateText(template)
        func scalar(_ text: String) -> String { TemplateText.scalar(text) }
        try file.set("node", scalar(answers.node))
        try file.set("organisation", scalar(answers.organisation))
        try file.set("host", scalar(answers.host))
        try file.set("machine-account", machineAccount)
        try file.set("static-key.private-key", scalar(secret(.staticKey)))
        try file.set("static-key.certificate", scalar(places.chain))
        try file.set("master-key", scalar(secret(.masterKey)))
        try file.set("core.link", scalar(answers.core.link.text))
        try file.set("core.ca", scalar(places.authorities("core")))
        try file.set("core.pins", TemplateText.list(answers.core.pins))
        try authorization(&file)
        try store(&file)
        if let proxy = answers.proxy { try self.proxy(proxy, &file) }
        if answers.officers != nil {
            try file.enable("officers.file")
            try file.set("officers.file", scalar(places.folder + "/officers.json"))
        }
        if answers.policy != nil {
            try file.enable("policy.file")
            try file.set("policy.file", scalar(places.folder + "/policy.signed"))
        }
        if let backup = answers.backup {
            try file.enable("backup")
            try file.set("backup.folder", scalar(backup.path))
        }
        try file.set("control.socket", scalar(places.socket))
        if let group = answers.operators {
            try file.enable("control.group")
            try file.set("control.group", scalar(group))
        }
        try file.set("runtime.health.address", TemplateText.scalar(answers.healthAddress.description))
        if !places.isMachine { try file.set("runtime.allow-root", "true") }
        return file.text
    }

    private func authorization(_ file: inout TemplateText) throws(DiagnosedError) {
        let (section, issuer) = (answers.authorization, answers.authorization.issuer.text)
        let ca = TemplateText.scalar(places.authorities("auth"))
        let first = "authorization.issuers."
        try file.set(first + "issuer", TemplateText.scalar(issuer))
        try file.set(first + "jwks", TemplateText.scalar(section.keySet?.text ?? issuer + "/jwks.json"))
        try file.set(first + "ca", ca)
        try file.set(first + "revocations", TemplateText.scalar(section.revocations?.text ?? issuer + "/revocations"))
        try file.set(first + "customer-controlled", section.isCustomerControlled ? "true" : "false")
        let account = "authorization.service-account."
        try file.set(account + "token-endpoint", TemplateText.scalar(section.tokenEndpoint?.text ?? issuer + "/token"))
        try file.set(account + "ca", ca)
        try file.set(account + "client-id", TemplateText.scalar(section.clientID))
        try file.set(account + "client-secret", TemplateText.scalar(secret(.clientSecret)))
    }

    private func store(_ file: inout TemplateText) throws(DiagnosedError) {
        guard let database = answers.store.postgresql else {
            return try file.set("store.file", TemplateText.scalar(places.state + "/kms.sqlite"))
        }
        try file.disable("store.file")
        try file.enable("store.postgresql")
        let section = "store.postgresql."
        try file.set(section + "hosts", TemplateText.list(database.hosts))
        try file.set(section + "database", TemplateText.scalar(database.database))
        try file.set(section + "user", TemplateText.scalar(database.user))
        try file.set(section + "password", TemplateText.scalar(secret(.databasePassword)))
        try file.set(section + "ca", TemplateText.scalar(places.authorities("database")))
        try file.disable(section + "certificate")
        try file.disable(section + "private-key")
        try file.enable("audit.folder")
        try file.set("audit.folder", TemplateText.scalar(places.state + "/audit"))
    }

    private func proxy(_ proxy: ProxyAnswers, _ file: inout TemplateText) throws(DiagnosedError) {
        try file.enable("proxy")
        try file.set("proxy.address", TemplateText.scalar(proxy.address.text))
        if proxy.authorities != nil {
            try file.set("proxy.ca", TemplateText.scalar(places.authorities("proxy")))
        } else {
            try file.disable("proxy.ca")
        }
        if let user = proxy.user {
            try file.set("proxy.user", TemplateText.scalar(user))
            try file.set("proxy.password", TemplateText.scalar(secret(.proxyPassword)))
        } else {
            try file.disable("proxy.user")
            try file.disable("proxy.password")
        }
        if proxy.exceptions.isEmpty {
            try file.disable("proxy.except")
        } else {
            try file.set("proxy.except", TemplateText.list(proxy.exceptions))
        }
    }

    private func secret(_ secret: InstalledSecret) -> String {
        places.isMachine ? "credential:\(secret.rawValue)" : "\(places.credentials)/\(secret.file)"
    }
}

/// A secret of an installation, by the name under which systemd hands it over.
package enum InstalledSecret: String, CaseIterable, Sendable {
    case masterKey = "kms-master-key"
    case staticKey = "kms-static-key"
    case clientSecret = "kms-client-secret"
    case databasePassword = "kms-database-password"
    case proxyPassword = "kms-proxy-password"

    /// Its file among the credentials, as the unit has it.
    var file: String { self == .staticKey ? rawValue + ".pem" : rawValue }
}

extension SetupPlaces {
    /// A file with certification authorities.
    func authorities(_ name: String) -> String { "\(folder)/\(name)-ca.pem" }
}
