"""The Flask extensions, made once and bound to an app by `create_app()`."""

from flask_login import LoginManager
from flask_migrate import Migrate
from flask_wtf import CSRFProtect

migrate = Migrate()
login = LoginManager()
csrf = CSRFProtect()
