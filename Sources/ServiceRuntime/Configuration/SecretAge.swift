import WireText

extension Credentials {
    /// When the secret's file was last changed, in seconds since 1970; nil for what systemd hands over, whose files are
    /// made at each start.
    package func changed(_ location: SecretLocation) -> Int64? {
        guard case .file(let file) = location else { return nil }
        return KernelClock.modified(file.path)
    }
}
