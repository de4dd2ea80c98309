@echo off
rem Creates a self-signed certificate for nginx: nginx\ssl\cert.pem and key.pem.
rem Usage: generate-ssl.bat [--force] [NAME-OR-ADDRESS ...]
setlocal EnableExtensions EnableDelayedExpansion
set "folder=%~dp0nginx\ssl"
set "names=DNS:localhost,IP:127.0.0.1,IP:::1"
set "force=no"
set "days=825"

:arguments
if "%~1"=="" goto check
if /i "%~1"=="--force" (
  set "force=yes"
  shift
  goto arguments
)
if "%~1"=="-h" goto usage
if "%~1"=="--help" goto usage
echo %~1| findstr /r "^-" >nul && (
  echo Unknown option %~1. Usage: generate-ssl.bat [--force] [NAME-OR-ADDRESS ...] 1>&2
  exit /b 2
)
echo %~1| findstr /r "[^A-Za-z0-9.:*-]" >nul && (
  echo '%~1' is neither a host name nor an address. 1>&2
  exit /b 2
)
set "kind=DNS"
echo %~1| findstr ":" >nul && set "kind=IP"
echo %~1| findstr /r "^[0-9.]*$" >nul && set "kind=IP"
set "names=!names!,!kind!:%~1"
shift
goto arguments

:check
rem The installers of OpenSSL and of Git do not add it to PATH.
where openssl >nul 2>nul
if errorlevel 1 if exist "%ProgramFiles%\OpenSSL-Win64\bin\openssl.exe" set "PATH=%ProgramFiles%\OpenSSL-Win64\bin;%PATH%"
where openssl >nul 2>nul
if errorlevel 1 if exist "%ProgramFiles%\Git\usr\bin\openssl.exe" set "PATH=%ProgramFiles%\Git\usr\bin;%PATH%"
where openssl >nul 2>nul
if errorlevel 1 (
  echo openssl is not installed. Run "winget install ShiningLight.OpenSSL.Light" and try again. An openssl in another folder must be in PATH. 1>&2
  exit /b 1
)
if "%force%"=="no" (
  if exist "%folder%\cert.pem" goto exists
  if exist "%folder%\key.pem" goto exists
)
if not exist "%folder%" mkdir "%folder%"
openssl req -x509 -newkey rsa:2048 -nodes -sha256 -days %days% -keyout "%folder%\key.new" -out "%folder%\cert.new" -subj "/CN=localhost" -addext "subjectAltName=%names%" -addext "basicConstraints=critical,CA:FALSE" -addext "keyUsage=digitalSignature,keyEncipherment" -addext "extendedKeyUsage=serverAuth"
if errorlevel 1 (
  del /q "%folder%\key.new" "%folder%\cert.new" 2>nul
  exit /b 1
)
rem Only the user who runs this may read the key.
icacls "%folder%\key.new" /inheritance:r /grant:r "%USERNAME%:F" >nul
move /y "%folder%\key.new" "%folder%\key.pem" >nul
move /y "%folder%\cert.new" "%folder%\cert.pem" >nul
echo Created %folder%\cert.pem and key.pem for %names%, valid for %days% days.
echo Browsers show a warning for self-signed certificates. For a public server, use Let's Encrypt: docs\operations.md.
exit /b 0

:usage
echo Creates a self-signed certificate for nginx: nginx\ssl\cert.pem and key.pem.
echo Usage: generate-ssl.bat [--force] [NAME-OR-ADDRESS ...]
exit /b 0

:exists
echo A certificate already exists in %folder%. To replace it, run generate-ssl.bat --force 1>&2
exit /b 1
