/// Which program this is.
package struct ServiceIdentity: Sendable {
    /// As in systemd and in every log record, such as `hds-kms`.
    package let name: String
    package let version: String

    package init(name: String, version: String) {
        self.name = name
        self.version = version
    }
}
