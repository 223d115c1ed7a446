package import HTTPTypes

/// The pages of the service: plain HTML without script, one style sheet, readable by screen readers and at any width.
///
/// Every text that came with a request or from a file is escaped here and nowhere else. The headers keep the pages out of
/// frames and caches, out of reach of scripts, and keep their addresses (which carry `state`) from leaving in a referrer.
package enum Pages {
    /// What is said above the form.
    package enum Notice: Sendable, Equatable {
        /// One text for a wrong password and for an unknown address: who guesses learns nothing.
        case wrongPassword
        case tooManyAttempts(seconds: Int64)
        case expired
        case busy
        case providerAway(title: String)

        /// Whether it speaks of a password that was given.
        var isOfPassword: Bool {
            switch self {
            case .wrongPassword, .tooManyAttempts: true
            case .expired, .busy, .providerAway: false
            }
        }

        var text: String {
            switch self {
            case .wrongPassword: "The e-mail address or the password is not right. Please try again."
            case .tooManyAttempts(let seconds):
                "There were too many attempts. Please wait \(Notice.duration(seconds)) and try again."
            case .expired:
                "This page was open for too long or came from elsewhere. Please sign in again. If this comes back, allow "
                    + "cookies for this site."
            case .providerAway(let title):
                "\(title) can not be reached at this moment. Please try again in a minute, or tell your administrator."
            case .busy: "Many people are signing in at this moment. Please try again in a few seconds."
            }
        }

        private static func duration(_ seconds: Int64) -> String {
            if seconds == 1 { return "1 second" }
            if seconds < 90 { return "\(seconds) seconds" }
            return "\((seconds + 59) / 60) minutes"
        }
    }

    /// Which fields the login page has. With providers the address comes first: it decides whether a password is asked.
    package enum Step: Sendable {
        case both
        case address
        case password
    }

    package static func login(
        _ request: AuthorizationRequest, domain: String, csrf: String, email: String, notice: Notice?,
        step: Step = .both
    ) -> String {
        let fields = (request.parameters + [("csrf", csrf)]).map { name, value in
            "<input type=\"hidden\" name=\"\(HTMLText.escape(name))\" value=\"\(HTMLText.escape(value))\">"
        }
        let alert = notice.map { "<p class=\"error\" id=\"notice\" role=\"alert\">\(HTMLText.escape($0.text))</p>\n" }
        let described = notice == nil ? "" : " aria-describedby=\"notice\""
        let focus = email.isEmpty || step == .address ? (" autofocus", "") : ("", " autofocus")
        let password = """

            <label for="password">Password</label>
            <input id="password" name="password" type="password" autocomplete="current-password" \
            maxlength="1024" required\(described)\(focus.1)>
            """
        let foot =
            step == .address
            ? "<p class=\"soft small\">Depending on your address you go on at the sign-in service of your organisation, "
                + "or give a password here.</p>"
            : "<p class=\"soft small\">Your password goes to this service of \(HTMLText.escape(domain)) only. The "
                + "application never sees it.</p>"
        return page(
            title: "Sign in to \(domain)",
            body: """
                <h1>Sign in</h1>
                <p class="soft">to <strong>\(HTMLText.escape(domain))</strong>, to go on in \
                <strong>\(HTMLText.escape(request.client.name))</strong></p>
                \(alert ?? "")<form method="post" action="/authorize" accept-charset="utf-8">
                \(fields.joined(separator: "\n"))
                <label for="email">E-mail address</label>
                <input id="email" name="email" type="email" value="\(HTMLText.escape(email))" autocomplete="username" \
                inputmode="email" autocapitalize="none" spellcheck="false" maxlength="254" required\
                \(described)\(focus.0)>\(step == .address ? "" : password)
                <button type="submit">\(step == .address ? "Continue" : "Sign in")</button>
                </form>
                \(foot)
                """)
    }

    /// On the way to a provider. A page and no redirect: browsers hold redirects after a form against `form-action`, and
    /// where a provider leads on to is not known here.
    package static func passage(to title: String, address: String, domain: String) -> String {
        page(
            title: "Sign in to \(domain)", refresh: address,
            body: """
                <h1>Sign in</h1>
                <p>You sign in at <strong>\(HTMLText.escape(title))</strong>.</p>
                <p><a id="passage" href="\(HTMLText.escape(address))">Continue</a></p>
                """)
    }

    package static func signedOut(domain: String) -> String {
        page(
            title: "Signed out",
            body: """
                <h1>Signed out</h1>
                <p>You are signed out of <strong>\(HTMLText.escape(domain))</strong>. You can close this page.</p>
                """)
    }

    package static func refusal(reason: String, domain: String) -> String {
        page(
            title: "Sign-in is not possible",
            body: """
                <h1>Sign-in is not possible</h1>
                <p>\(HTMLText.escape(reason))</p>
                <p class="soft">Please start again in the application. If this page comes back, tell the administrator of \
                \(HTMLText.escape(domain)) what it says.</p>
                """)
    }

    package static func welcome(domain: String) -> String {
        page(
            title: "Sign-in service of \(domain)",
            body: """
                <h1>Sign-in service</h1>
                <p>This is the sign-in service of <strong>\(HTMLText.escape(domain))</strong>.</p>
                <p class="soft">There is nothing to do on this page: applications send you here when you sign in.</p>
                """)
    }

    private static func page(title: String, refresh: String? = nil, body: String) -> String {
        let refresh = refresh.map {
            "\n<meta http-equiv=\"refresh\" content=\"0;url=\(HTMLText.escape($0))\">"
        }
        return """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="robots" content="noindex">\(refresh ?? "")
            <title>\(HTMLText.escape(title))</title>
            <style>\(PageStyle.sheet)</style>
            </head>
            <body>
            <main>
            \(body)
            </main>
            </body>
            </html>

            """
    }

    /// The headers of every page. Browsers hold redirects after a form against `form-action` too, so the page with the
    /// form names the one origin where a successful login leads.
    package static func headers(formTarget: RedirectURI?) -> HTTPFields {
        let targets = formTarget.map { "'self' \($0.origin)" } ?? "'none'"
        var fields = HTTPFields()
        fields[.contentType] = "text/html; charset=utf-8"
        fields[.contentSecurityPolicy] =
            "default-src 'none'; style-src \(PageStyle.source); form-action \(targets); frame-ancestors 'none'; "
            + "base-uri 'none'"
        fields[.cacheControl] = "no-store"
        fields[.pragma] = "no-cache"
        fields[.xContentTypeOptions] = "nosniff"
        fields[.xFrameOptions] = "DENY"
        fields[.referrerPolicy] = "no-referrer"
        fields[.crossOriginOpenerPolicy] = "same-origin"
        fields[.crossOriginResourcePolicy] = "same-origin"
        return fields
    }
}

extension HTTPField.Name {
    // Literals of the token alphabet: the initialiser can not return nil for them.
    static let pragma = Self("Pragma")!
    static let xFrameOptions = Self("X-Frame-Options")!
    static let referrerPolicy = Self("Referrer-Policy")!
    static let crossOriginOpenerPolicy = Self("Cross-Origin-Opener-Policy")!
}
